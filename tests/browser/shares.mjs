// shares.mjs: sharing with a code, visiting without an account, saving to another disk, stopping.
import assert from "node:assert/strict";
import { go, makeFolder, register, rowOf, test, visit } from "./harness.mjs";
import { withFiles } from "./nodes.mjs";

/** Shares what a row shows; answers the link and the code. */
async function share(page, name, { code, open = false } = {}) {
  await rowOf(page, name).locator(".more").click();
  await page.getByRole("menuitem", { name: "Share…" }).click();
  if (code !== undefined) await page.fill("#share-code-input", code);
  if (open) await page.getByLabel("List it under public shares").check();
  await page.locator("#share-dialog [type=submit]").click();
  await page.locator("#shared .qr").waitFor();
  const link = await page.inputValue("#share-link");
  const told = code === "" ? "" : await page.textContent("#share-code");
  return { link, code: told };
}

async function enter(page, code) {
  await page.fill("#code-input", code);
  await page.click("#code-form button");
}

test("shares: link and code in one click; a visitor opens, another user saves", async (world) => {
  const { visitor, page } = await withFiles(world, ["inside.txt"]);
  await visitor.context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await makeFolder(page, "给你的照片");
  await rowOf(page, "inside.txt").dragTo(rowOf(page, "给你的照片"));
  await rowOf(page, "inside.txt").waitFor({ state: "detached" });
  const { link, code } = await share(page, "给你的照片");
  await page.click("#copy-share");
  const text = await page.evaluate(() => window.navigator.clipboard.readText());
  assert.ok(text.includes(link) && text.includes(code), text);

  const guest = await visit(world);
  guest.allow(/^403 \/api\/share\/\w+\/open$/);
  await guest.page.goto(link);
  await guest.page.waitForSelector("#lock:not([hidden])");
  await enter(guest.page, "wrong1");
  await guest.page.getByText("This code is not right.").waitFor();
  await enter(guest.page, code);
  await guest.page.getByTitle("给你的照片").click();
  await rowOf(guest.page, "inside.txt").waitFor();
  const arriving = guest.page.waitForEvent("download");
  await rowOf(guest.page, "inside.txt").locator(".get").click();
  assert.equal((await arriving).suggestedFilename(), "inside.txt");
  await rowOf(guest.page, "inside.txt").locator(".name").click();
  await guest.page.waitForSelector("#preview .paper");
  await guest.page.keyboard.press("Escape");
  await guest.close();

  const other = await visit(world);
  await register(other);
  await other.page.goto(link);
  await enter(other.page, code);
  await other.page.getByRole("button", { name: "Save to my disk" }).click();
  await other.page.getByRole("button", { name: "Save here" }).click();
  await other.page.getByText("1 item saved to “All files”.").waitFor();
  await other.page.getByRole("button", { name: "Open my disk" }).click();
  await other.page.getByTitle("给你的照片").click();
  await rowOf(other.page, "inside.txt").waitFor();
  await other.close();
  await visitor.close();
});

test("shares: a visitor who has to log in first comes back to the share", async (world) => {
  const { visitor, page } = await withFiles(world, ["present.txt"]);
  const { link } = await share(page, "present.txt", { code: "" });
  const guest = await visit(world);
  guest.allow(/401 \/api\/session$/); // saving asks who is there: nobody
  await guest.page.goto(link);
  await rowOf(guest.page, "present.txt").waitFor();
  await guest.page.getByRole("button", { name: "Save to my disk" }).click();
  await guest.page.waitForURL(/login\.html/);
  await guest.page.getByRole("link", { name: "Create an account" }).click();
  await guest.page.waitForURL(/register\.html/);
  await guest.page.fill("#name", `guest-${Date.now().toString(36)}`);
  await guest.page.fill("#password", "seven quiet herons");
  await guest.page.click("button[type=submit]");
  await guest.page.waitForURL(/share\.html/);
  await rowOf(guest.page, "present.txt").waitFor();
  await guest.close();
  await visitor.close();
});

test("shares: a view that comes late, after another, is not seen in that one", async (world) => {
  const { visitor, page } = await withFiles(world, ["late.txt"]);
  let release;
  const held = new Promise((resolve) => { release = resolve; });
  await page.route("**/js/views/shares.js*", async (route) => {
    await held;
    await route.continue();
  });
  await go(page, "#/shares");
  await go(page, "#/public");
  const heads = page.locator("#page-view h1");
  await heads.waitFor();
  const shown = await heads.textContent();
  const late = page.waitForResponse((answer) =>
    new URL(answer.url()).pathname === "/api/shares");
  release();
  await late; // it asks for what it shows when it stands somewhere
  assert.deepEqual(await heads.allTextContents(), [shown]);
  await page.unroute("**/js/views/shares.js*");
  await visitor.close();
});

test("shares: my shares, a change, an end; what is stopped says so", async (world) => {
  const { visitor, page } = await withFiles(world, ["report.txt"]);
  const { link } = await share(page, "report.txt", { code: "", open: true });
  await page.keyboard.press("Escape");
  await go(page, "#/public");
  await page.getByRole("link", { name: "report.txt" }).first().waitFor();
  await go(page, "#/shares");
  await page.getByText("Live").waitFor();
  await page.getByRole("button", { name: "Change report.txt" }).click();
  await page.getByLabel("Never ends").check();
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("Never ends ·").waitFor();
  await page.getByRole("button", { name: "Stop sharing report.txt" }).click();
  await page.locator("#confirm").getByRole("button", { name: "Stop sharing" }).click();
  await page.getByText("Stopped").waitFor();
  const guest = await visit(world);
  guest.allow(/^410 \/api\/share\/\w+$/);
  await guest.page.goto(link);
  await guest.page.getByRole("heading", { name: "This share cannot be opened" }).waitFor();
  await guest.page.getByText("It is not shared any more.").waitFor();
  await guest.close();
  await visitor.close();
});

test("shares: a visitor can report one", async (world) => {
  const { visitor, page } = await withFiles(world, ["odd.txt"]);
  const { link } = await share(page, "odd.txt", { code: "" });
  const guest = await visit(world);
  await guest.page.goto(link);
  await guest.page.getByRole("button", { name: "Report" }).click();
  await guest.page.getByLabel("Malware").check();
  await guest.page.locator("#report [type=submit]").click();
  await guest.page.getByText("Thank you.").waitFor();
  await guest.close();
  await visitor.close();
});
