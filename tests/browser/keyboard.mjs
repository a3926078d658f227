// keyboard.mjs: the main flows by the keyboard alone: no mouse, no script that moves the focus.
import {
  focusOn, makeFile, makeFolder, PASSWORD, ready, register, rowOf, tabTo, test, visit,
} from "./harness.mjs";

/** An account with a folder, and a page in front of which nobody is logged in. */
async function prepared(world) {
  const visitor = await visit(world);
  const name = await register(visitor);
  await makeFolder(visitor.page, "目标");
  await visitor.page.goto("about:blank");
  await visitor.context.clearCookies();
  await visitor.page.goto(`${visitor.url}/login.html`);
  await ready(visitor.page);
  return { visitor, page: visitor.page, name };
}

const told = (page, text) => page.locator(".note").filter({ hasText: text }).waitFor();

test("keyboard: log in, upload, rename, move, share, trash, undo, log out", async (world) => {
  const { visitor, page, name } = await prepared(world);
  const { keyboard } = page;
  await focusOn(page, "name");
  await keyboard.type(name);
  await tabTo(page, "password");
  await keyboard.type(PASSWORD);
  await keyboard.press("Enter");
  await rowOf(page, "目标").waitFor();

  // Before the key it is told that somebody else than a dialog wants to choose; told together
  // with it the browser may hear of the key first.
  const choosing = page.waitForEvent("filechooser");
  await tabTo(page, "Upload");
  await keyboard.press("Enter");
  await (await choosing).setFiles(await makeFile(world.dir, "报告.txt", 900));
  await rowOf(page, "报告.txt").waitFor();

  await tabTo(page, "目标");
  await keyboard.press("ArrowDown");
  await focusOn(page, "报告.txt");
  await keyboard.press("F2");
  await keyboard.type("总结");
  await keyboard.press("Enter");
  await rowOf(page, "总结.txt").waitFor();
  await told(page, "Renamed");
  await focusOn(page, "总结.txt");

  await keyboard.press("Shift+M");
  await page.locator("#picker-dialog .picker button").waitFor();
  await tabTo(page, "目标");
  await keyboard.press("Enter");
  await page.locator(".picker-crumbs [aria-current]", { hasText: "目标" }).waitFor();
  await tabTo(page, "Move here");
  await keyboard.press("Enter");
  await told(page, "1 item moved");
  await rowOf(page, "总结.txt").waitFor({ state: "detached" });
  await keyboard.press("Control+z");
  await rowOf(page, "总结.txt").waitFor();

  await keyboard.press("End"); // the focus stayed in the list
  await focusOn(page, "总结.txt");
  await keyboard.press("Shift+S");
  await page.waitForSelector("#share-dialog");
  await keyboard.press("Enter");
  await page.locator("#shared .qr").waitFor();
  await focusOn(page, "copy-share");
  await keyboard.press("Escape");
  await page.waitForSelector("#shared", { state: "detached" });

  await focusOn(page, "总结.txt");
  await keyboard.press("Delete");
  await told(page, "1 item moved to the recycle bin");
  await rowOf(page, "总结.txt").waitFor({ state: "detached" });
  await keyboard.press("Control+z");
  await rowOf(page, "总结.txt").waitFor();

  await tabTo(page, "account", "Shift+Tab");
  await keyboard.press("Enter");
  await page.waitForSelector("#account-menu:popover-open");
  await tabTo(page, "log-out");
  await keyboard.press("Enter");
  await page.waitForURL(/login\.html/);
  await visitor.close();
});
