// account.mjs: register, log in, log out, stay logged in, and what is said when that fails.
import assert from "node:assert/strict";
import { newName, PASSWORD, ready, register, test, visit } from "./harness.mjs";

async function logIn(page, name, password) {
  await page.fill("#name", name);
  await page.fill("#password", password);
  await page.click("button[type=submit]");
}

test("account: register lands on the files, a reload keeps the session", async (world) => {
  const visitor = await visit(world);
  const { page } = visitor;
  await register(visitor, { nickname: "林小雨" });
  await page.locator("#avatar").filter({ hasText: /^林$/ }).waitFor();
  await page.reload();
  await page.waitForSelector("#empty:not([hidden])");
  await page.locator("#usage-text").filter({ hasText: /0 B of .* used/ }).waitFor();
  await visitor.close();
});

test("account: log out, then in again with the same account", async (world) => {
  const visitor = await visit(world);
  const { page, url } = visitor;
  const name = await register(visitor);
  await page.click("#account");
  await page.click("#log-out");
  await page.waitForURL(/login\.html/);
  visitor.allow(/^401 \/api\/(session|disk\/root\?.*)$/);
  await page.goto(`${url}/files.html`);
  await page.waitForURL(/login\.html/);
  await ready(page);
  await logIn(page, name, PASSWORD);
  await page.waitForSelector("#empty:not([hidden])");
  await visitor.close();
});

test("account: a wrong password is told in words, in both languages", async (world) => {
  const visitor = await visit(world);
  visitor.allow(/^401 \/api\/login$/);
  const { page, url } = visitor;
  await page.goto(`${url}/login.html`);
  await ready(page);
  await logIn(page, newName(), "not the password");
  const message = page.locator(".form-error");
  await message.filter({ hasText: "User name or password is not right." }).waitFor();
  await page.getByRole("radio", { name: "中文" }).check();
  await page.getByRole("heading", { name: "登录" }).waitFor();
  await page.click("button[type=submit]");
  await message.filter({ hasText: "用户名或密码不正确" }).waitFor();
  assert.equal(await page.getAttribute("html", "lang"), "zh-CN");
  await page.reload();
  await page.getByRole("heading", { name: "登录" }).waitFor();
  await visitor.close();
});

test("account: what is wrong with a form stands at its field", async (world) => {
  const visitor = await visit(world);
  visitor.allow(/^40[09] \/api\/register$/);
  const { page, url } = visitor;
  const taken = await register(visitor);
  await page.goto(`${url}/register.html`);
  await ready(page);
  for (const [name, password, field, text] of [
    ["", PASSWORD, "name", "Enter a user name."],
    [newName(), "", "password", "Enter a password."],
    [newName(), "short", "password", "This password is too easy."],
    ["no/slash", PASSWORD, "name", "This cannot be a user name."],
    [taken, PASSWORD, "name", "This user name is taken."],
  ]) {
    await logIn(page, name, password);
    await page.locator(`#${field}-error`).filter({ hasText: text }).waitFor();
    await page.locator(`#${field}[aria-invalid=true]:focus`).waitFor();
  }
  await visitor.close();
});

test("account: a server that cannot be reached is named, and can be tried again", async (world) => {
  const visitor = await visit(world);
  visitor.allow(/ERR_INTERNET_DISCONNECTED/);
  const { page, context, url } = visitor;
  await page.goto(`${url}/login.html`);
  await ready(page);
  await context.setOffline(true);
  await logIn(page, newName(), PASSWORD);
  await page.getByText("The server cannot be reached.").waitFor();
  await context.setOffline(false);
  await register(visitor);
  await context.setOffline(true);
  await page.evaluate(() => { location.hash = "#/folder/1"; });
  await page.getByRole("heading", { name: "The list could not be loaded" }).waitFor();
  await context.setOffline(false);
  await page.evaluate(() => { location.hash = "#/"; });
  await page.waitForSelector("#empty:not([hidden])");
  await visitor.close();
});

test("account: a session ends elsewhere, the way back leads to the same folder", async (world) => {
  const visitor = await visit(world);
  visitor.allow(/^401 \/api\/(session|disk\/\d+\?.*)$/);
  const { page, context } = visitor;
  const name = await register(visitor);
  await page.click("#make-folder");
  await page.fill("#new-folder-input", "年度");
  await page.click("#new-folder button[type=submit]");
  await page.getByTitle("年度").click();
  await page.getByRole("heading", { name: "年度" }).waitFor();
  await context.clearCookies();
  await page.reload();
  await page.waitForURL(/login\.html\?next=/);
  await ready(page);
  await logIn(page, name, PASSWORD);
  await page.getByRole("heading", { name: "年度" }).waitFor();
  await visitor.close();
});

test("account: a forged way back leads nowhere else", async (world) => {
  const visitor = await visit(world);
  const { page, url } = visitor;
  const name = await register(visitor);
  await page.goto(`${url}/login.html?next=${encodeURIComponent("//elsewhere.invalid/#/")}`);
  await ready(page);
  await logIn(page, name, PASSWORD);
  await page.waitForSelector("#empty:not([hidden])");
  assert.equal(new URL(page.url()).origin, url);
  await visitor.close();
});

test("account: theme and language are kept, and follow the system until chosen", async (world) => {
  const visitor = await visit(world, { colorScheme: "dark", locale: "zh-CN" });
  const { page, url } = visitor;
  const ground = () => page.evaluate(() =>
    window.getComputedStyle(document.documentElement).backgroundColor);
  await page.goto(`${url}/login.html`);
  await page.getByRole("heading", { name: "登录" }).waitFor();
  const dark = await ground();
  await page.getByRole("radio", { name: "浅色" }).check();
  const light = await ground();
  assert.notEqual(light, dark);
  await page.reload();
  await ready(page);
  assert.equal(await ground(), light);
  await page.getByRole("radio", { name: "English" }).check();
  await page.getByRole("heading", { name: "Log in" }).waitFor();
  await page.getByRole("radio", { name: "System" }).check();
  assert.equal(await ground(), dark);
  await visitor.close();
});
