// settings.mjs: one's own account: name, password, second factor, sessions, tokens; and the
// administrator's view of everybody's.
import assert from "node:assert/strict";
import {
  go,
  makeFile,
  newName,
  PASSWORD,
  ready,
  register,
  rowOf,
  Skip,
  test,
  visit,
} from "./harness.mjs";
import { totp as code, TOTP_MS as STEP_MS } from "./seed.mjs";

async function logIn(page, url, name, password) {
  await page.goto(`${url}/login.html`);
  await ready(page);
  await page.fill("#name", name);
  await page.fill("#password", password);
  await page.click("button[type=submit]");
}

test("settings: a second factor is turned on and asked for; recovery codes help", async (world) => {
  const visitor = await visit(world);
  visitor.allow(/^401 \/api\/(totp|login)$/);
  const { page, url } = visitor;
  const name = await register(visitor);
  await go(page, "#/settings");
  await page.getByRole("button", { name: "Turn on" }).click();
  await page.fill("#totp-password-input", "not the password");
  await page.getByRole("button", { name: "Continue" }).click();
  await page.locator("#totp-password-input-error:not(:empty)").waitFor();
  await page.fill("#totp-password-input", PASSWORD);
  await page.getByRole("button", { name: "Continue" }).click();
  await page.locator("#totp .qr").waitFor();
  const secret = await page.textContent("#totp-secret");
  await page.fill("#totp-code", code(secret, Date.now()));
  await page.locator("#totp").getByRole("button", { name: "Turn on" }).click();
  await page.locator("#recovery .codes li").first().waitFor();
  const codes = await page.locator("#recovery .codes li").allTextContents();
  assert.ok(codes.length >= 8, `${codes.length} recovery codes`);
  await page.keyboard.press("Escape");
  await page.getByText("Logging in asks for a code").waitFor();
  await page.click("#account");
  await page.click("#log-out");
  await page.waitForURL(/login\.html/);
  await logIn(page, url, name, PASSWORD);
  await page.locator("#code-error", { hasText: "Enter the code." }).waitFor();
  await page.fill("#code", "000000");
  await page.click("button[type=submit]");
  await page.locator("#code-error", { hasText: "not right" }).waitFor();
  // The code of the next half minute: one that was not used before, and that clocks may differ by.
  await page.fill("#code", code(secret, Date.now() + STEP_MS));
  await page.click("button[type=submit]");
  await page.waitForSelector("#empty:not([hidden])");
  await page.click("#account");
  await page.click("#log-out");
  await page.waitForURL(/login\.html/);
  await logIn(page, url, name, PASSWORD);
  await page.locator("#code-field:not([hidden])").waitFor();
  await page.fill("#code", codes[0]);
  await page.click("button[type=submit]");
  await page.waitForSelector("#empty:not([hidden])");
  await visitor.close();
});

test("settings: a new password ends the other sessions; names are kept", async (world) => {
  const visitor = await visit(world);
  visitor.allow(/^401 \/api\/password$/);
  const { page, url } = visitor;
  const name = await register(visitor);
  const other = await visit(world);
  other.allow(/^401 \/api\/(session|events|disk\/root\?.*)$/);
  await logIn(other.page, url, name, PASSWORD);
  await other.page.waitForSelector("#empty:not([hidden])");
  await go(page, "#/settings");
  await page.getByLabel("Nickname").fill("林小雨 <b>");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("Saved.").waitFor();
  await page.getByText("This one").waitFor();
  assert.equal(await page.getByRole("button", { name: /^End Chrome/ }).count(), 1);
  await page.getByLabel("Current password").fill("not the password");
  await page.getByLabel("New password").fill("eight calm geese");
  await page.getByRole("button", { name: "Change password" }).click();
  await page.getByText("The current password is not right.").waitFor();
  await page.getByLabel("Current password").fill(PASSWORD);
  await page.getByRole("button", { name: "Change password" }).click();
  await page.getByText("Password changed.").waitFor();
  await other.page.reload();
  await other.page.waitForURL(/login\.html/);
  await logIn(other.page, url, name, "eight calm geese");
  await other.page.waitForSelector("#empty:not([hidden])");
  await other.page.click("#account");
  assert.equal(await other.page.textContent("#account-nickname"), "林小雨 <b>");
  await other.close();
  await visitor.close();
});

test("settings: a token is made, works, and is ended", async (world) => {
  const visitor = await visit(world);
  const { page, url } = visitor;
  await register(visitor);
  await page.setInputFiles("#picker", await makeFile(world.dir, "by-token.txt", 100));
  await rowOf(page, "by-token.txt").waitFor();
  await go(page, "#/settings");
  await page.getByRole("button", { name: "New token" }).click();
  await page.getByLabel("What is it for?").fill("back-up");
  await page.locator("#token").getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Create token" }).click();
  const secret = await page.textContent("#token-secret");
  const list = () =>
    fetch(`${url}/api/disk/root`, { headers: { Authorization: `Bearer ${secret}` } });
  assert.equal((await (await list()).json()).nodes[0].name, "by-token.txt");
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "End back-up" }).click();
  await page.locator("#confirm").getByRole("button", { name: "End" }).click();
  await page.getByText("back-up", { exact: true }).waitFor({ state: "detached" });
  assert.equal((await list()).status, 401);
  await visitor.close();
});

test("settings: the administrator makes accounts, sees the cluster and the log", async (world) => {
  if (!world.admin) throw new Skip("the password of this site is not known");
  const visitor = await visit(world);
  const { page, url } = visitor;
  await logIn(page, url, world.admin.name, world.admin.password);
  await page.waitForURL(/files/);
  await page.getByRole("link", { name: "Administration" }).click();
  await page.getByRole("heading", { name: "group1" }).waitFor();
  await page.getByText("ACTIVE").first().waitFor();
  await page.getByRole("link", { name: "Users" }).click();
  await page.getByRole("button", { name: "New account" }).click();
  const name = newName();
  await page.getByLabel("User name").fill(name);
  await page.getByLabel("Quota in GB").fill("2");
  await page.getByRole("button", { name: "Create account" }).click();
  const password = await page.locator("#new-password .secret").textContent();
  await page.keyboard.press("Escape");
  await page.getByRole("searchbox", { name: "Find accounts" }).fill(name);
  await page.keyboard.press("Enter");
  await page.getByRole("row", { name }).getByText("0 B of 2 GB").waitFor();
  const made = await visit(world);
  made.allow(/^401 \/api\/(session|events|disk\/root\?.*)$/);
  await logIn(made.page, url, name, password);
  await made.page.waitForSelector("#empty:not([hidden])");
  await page.getByRole("button", { name: `Change ${name}` }).click();
  await page.getByLabel("May log in").uncheck();
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("Disabled").waitFor();
  // Another language draws the rows anew; what is looked for stays.
  const speak = async (/** @type {string} */ language) => {
    await page.click("#account");
    await page.locator("#account-menu").getByRole("radio", { name: language }).check();
    await page.keyboard.press("Escape");
  };
  await speak("中文");
  await page.getByRole("row", { name }).getByText("已停用").waitFor();
  assert.equal(await page.getByRole("searchbox", { name: "查找账号" }).inputValue(), name);
  assert.equal(await page.locator("tbody tr").count(), 1);
  await speak("English");
  await page.getByRole("row", { name }).getByText("Disabled").waitFor();
  await made.page.reload();
  await made.page.waitForURL(/login\.html/);
  await made.close();
  await page.getByRole("link", { name: "Audit log" }).click();
  await page.getByRole("columnheader", { name: "When" }).waitFor();
  await page.locator("tbody tr").first().waitFor();
  await visitor.close();
});

test("settings: another language leaves what is being filled in", async (world) => {
  const visitor = await visit(world);
  const { page } = visitor;
  await register(visitor);
  await go(page, "#/settings");
  await page.getByText("This one").waitFor();
  await page.getByLabel("Nickname").fill("half a na");
  await page.getByLabel("Current password").fill("half a word");
  const view = page.locator("#page-view");
  await view.getByRole("radio", { name: "中文" }).check();
  // What the server told stands there in Chinese, too: it was written anew.
  await view.getByText("目前只凭密码即可登录").waitFor();
  await view.locator(".tag").getByText("当前", { exact: true }).waitFor();
  await view.locator(".figure").filter({ hasText: "图片" }).waitFor();
  assert.equal(await page.getByLabel("昵称").inputValue(), "half a na");
  assert.equal(await page.getByLabel("当前密码").inputValue(), "half a word");
  assert.ok(await view.getByRole("radio", { name: "中文" }).evaluate((one) =>
    one === document.activeElement), "the focus stays");
  // The other place of this choice shows the same, and each is a row of its own.
  await page.click("#account");
  const menu = page.locator("#account-menu");
  assert.ok(await menu.getByRole("radio", { name: "中文" }).isChecked());
  await menu.getByRole("radio", { name: "English" }).check();
  await view.getByText("This one").waitFor();
  assert.equal(await page.getByLabel("Nickname").inputValue(), "half a na");
  assert.ok(await view.getByRole("radio", { name: "English" }).isChecked());
  await visitor.close();
});
