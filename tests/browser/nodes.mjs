// nodes.mjs: what is done with files and folders: choosing, renaming, moving, copying, favourites,
// the recycle bin, search, categories; by mouse, keyboard and touch; and all of it undone.
import assert from "node:assert/strict";
import { go, makeFile, makeFolder, reaches, register, rowOf, test, visit } from "./harness.mjs";

/** Somebody with a few files, and the names of what they have. */
export async function withFiles(
  world,
  names = ["alpha.txt", "beta.txt", "gamma.txt", "delta.txt"],
  options = {},
) {
  const visitor = await visit(world, options);
  const { page } = visitor;
  await register(visitor);
  const paths = [];
  for (const name of names) paths.push(await makeFile(world.dir, name, 1000));
  await page.setInputFiles("#picker", paths);
  for (const name of names) await rowOf(page, name).waitFor();
  await page.getByRole("button", { name: "Clear finished" }).click();
  return { ...visitor, visitor, page, paths };
}

const beside = { position: { x: 420, y: 20 } };
/** These rows are chosen, and no others. */
const chosen = (page, names) => reaches(names, () =>
  page.locator('#rows .row[aria-selected="true"] .name').allTextContents());
const toast = (page, text) => page.locator(".note").filter({ hasText: text }).waitFor();
const gone = (page, name) => rowOf(page, name).waitFor({ state: "detached" });

test("nodes: choosing with the mouse: one, more, a range, all, none", async (world) => {
  const { visitor, page } = await withFiles(world);
  await rowOf(page, "alpha.txt").click(beside);
  await chosen(page, ["alpha.txt"]);
  await rowOf(page, "gamma.txt").click({ ...beside, modifiers: ["Control"] });
  await chosen(page, ["alpha.txt", "gamma.txt"]);
  await rowOf(page, "alpha.txt").click(beside);
  await rowOf(page, "delta.txt").click({ ...beside, modifiers: ["Shift"] });
  await chosen(page, ["alpha.txt", "beta.txt", "delta.txt"]);
  assert.equal(await page.textContent("#chosen-count"), "3 selected");
  assert.match(await page.textContent("#live"), /3 selected/);
  await page.locator("#choose-all").check();
  await chosen(page, ["alpha.txt", "beta.txt", "delta.txt", "gamma.txt"]);
  await page.click("#choose-none");
  await page.waitForSelector("#chosen", { state: "hidden" });
  await visitor.close();
});

test("nodes: the keyboard alone chooses, renames, cuts, pastes, deletes, undoes", async (world) => {
  const { visitor, page } = await withFiles(world);
  const { keyboard } = page;
  await makeFolder(page, "target");
  await rowOf(page, "target").focus();
  await keyboard.press("ArrowDown");
  await keyboard.press("Shift+ArrowDown");
  await chosen(page, ["alpha.txt", "beta.txt"]);
  await keyboard.press("Control+x");
  await toast(page, "2 items cut");
  await keyboard.press("t"); // the first letter leads to it
  await keyboard.press("Escape");
  await keyboard.press("Enter");
  await page.getByRole("heading", { name: "target" }).waitFor();
  await page.waitForSelector("#empty:not([hidden])");
  await page.locator("#folder-name").focus();
  await keyboard.press("Control+v");
  await rowOf(page, "beta.txt").waitFor();
  await rowOf(page, "alpha.txt").focus();
  await keyboard.press("F2");
  await keyboard.type("renamed");
  await keyboard.press("Enter");
  await rowOf(page, "renamed.txt").waitFor();
  await page.waitForFunction(
    () => document.activeElement.querySelector(".name")?.textContent === "renamed.txt",
  );
  await keyboard.press("Delete");
  await toast(page, "1 item moved to the recycle bin");
  await gone(page, "renamed.txt");
  await page.locator(".note-action").focus();
  await keyboard.press("Enter");
  await rowOf(page, "renamed.txt").waitFor();
  await visitor.close();
});

test("nodes: a name that is taken is said where it is typed; Escape leaves it", async (world) => {
  const { visitor, page } = await withFiles(world, ["alpha.txt", "beta.txt"]);
  visitor.allow(/^409 \/api\/disk\/\d+$/);
  await rowOf(page, "alpha.txt").focus();
  await page.keyboard.press("F2");
  await page.keyboard.type("beta");
  await page.keyboard.press("Enter");
  await page.locator(".rename-why").filter({ hasText: "already taken" }).waitFor();
  await page.keyboard.press("Escape");
  await rowOf(page, "alpha.txt").waitFor();
  assert.equal(await page.locator(".rename").count(), 0);
  await visitor.close();
});

test("nodes: the menu offers what can be done, and is worked by keys", async (world) => {
  const { visitor, page } = await withFiles(world, ["alpha.txt"]);
  await rowOf(page, "alpha.txt").click({ ...beside, button: "right" });
  const menu = page.getByRole("menu");
  await menu.waitFor();
  const items = await menu.getByRole("menuitem").locator("span").allTextContents();
  assert.deepEqual(items, [
    "Open",
    "Download",
    "Share…",
    "Add to favourites",
    "Rename",
    "Move to…",
    "Copy to…",
    "Move to recycle bin",
  ]);
  await page.keyboard.press("End");
  await page.keyboard.press("ArrowDown");
  assert.equal(await page.evaluate(() => document.activeElement.textContent.trim()), "OpenEnter");
  await page.keyboard.press("a");
  await page.keyboard.press("Enter");
  await toast(page, "1 item added to favourites");
  await go(page, "#/favourites");
  await rowOf(page, "alpha.txt").waitFor();
  await visitor.close();
});

test("nodes: dragging onto a folder moves, the toast brings back", async (world) => {
  const { visitor, page } = await withFiles(world, ["alpha.txt", "beta.txt"]);
  await makeFolder(page, "照片");
  await rowOf(page, "alpha.txt").dragTo(rowOf(page, "照片"));
  await toast(page, "1 item moved");
  await gone(page, "alpha.txt");
  await page.getByRole("button", { name: "Undo" }).click();
  await rowOf(page, "alpha.txt").waitFor();
  await rowOf(page, "beta.txt").dragTo(page.getByRole("link", { name: "Recycle bin" }));
  await toast(page, "1 item moved to the recycle bin");
  await visitor.close();
});

test("nodes: moving and copying by the picker; taken names are kept both", async (world) => {
  const { visitor, page } = await withFiles(world, ["alpha.txt"]);
  await makeFolder(page, "里面");
  const pick = async (action, go) => {
    await rowOf(page, "alpha.txt").locator(".more").click();
    await page.getByRole("menuitem", { name: action }).click();
    await page.locator(".picker").getByRole("button", { name: "里面" }).click();
    await page.locator(".picker-crumbs [aria-current]", { hasText: "里面" }).waitFor();
    await page.getByRole("button", { name: go }).click();
  };
  await pick("Copy to…", "Copy here");
  await toast(page, "1 item copied");
  await pick("Move to…", "Move here");
  await page.waitForSelector("#conflict[open]");
  await page.getByRole("button", { name: "Keep both" }).click();
  await gone(page, "alpha.txt");
  await page.getByTitle("里面").click();
  await rowOf(page, "alpha (1).txt").waitFor();
  await visitor.close();
});

test("nodes: into the recycle bin and back, for ever gone, and emptied", async (world) => {
  const { visitor, page } = await withFiles(world);
  const trash = async (name) => {
    await rowOf(page, name).click(beside);
    await page.keyboard.press("Delete");
    await gone(page, name);
  };
  for (const name of ["alpha.txt", "beta.txt", "gamma.txt"]) await trash(name);
  await page.getByRole("link", { name: "Recycle bin" }).click();
  await rowOf(page, "alpha.txt").click(beside);
  await page.getByRole("button", { name: "Restore" }).click();
  await gone(page, "alpha.txt");
  await rowOf(page, "beta.txt").click(beside);
  await page.locator("#chosen").getByRole("button", { name: "Delete for ever" }).click();
  await page.locator("#confirm").getByRole("button", { name: "Delete for ever" }).click();
  await gone(page, "beta.txt");
  await page.getByRole("button", { name: "Empty the recycle bin" }).click();
  await page.locator("#confirm").getByRole("button", { name: "Empty the recycle bin" }).click();
  await page.getByRole("heading", { name: "The recycle bin is empty" }).waitFor();
  await go(page, "#/");
  await rowOf(page, "alpha.txt").waitFor();
  assert.deepEqual(await page.locator("#rows .name").allTextContents(), ["alpha.txt", "delta.txt"]);
  await visitor.close();
});

test("nodes: search, recent and categories find by name, age and kind", async (world) => {
  const { visitor, page } = await withFiles(world, ["年度总结 100%.txt", "other.txt"]);
  await page.keyboard.press("/");
  await page.keyboard.type("总结 100%");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Results for “总结 100%”" }).waitFor();
  await rowOf(page, "年度总结 100%.txt").waitFor();
  assert.equal(await page.locator("#rows .row").count(), 1);
  await page.fill("#search-input", "nothing has this name");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Nothing found" }).waitFor();
  await go(page, "#/recent");
  await rowOf(page, "other.txt").waitFor();
  await go(page, "#/category/video");
  await page.getByRole("heading", { name: "Nothing of this kind" }).waitFor();
  await visitor.close();
});

test("nodes: a finger opens; resting it chooses, then taps choose more", async (world) => {
  const phone = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };
  const { visitor, page } = await withFiles(world, ["alpha.txt", "beta.txt"], phone);
  const box = await rowOf(page, "alpha.txt").boundingBox();
  const finger = await visitor.context.newCDPSession(page);
  const touchPoints = [{ x: box.x + 120, y: box.y + 30 }];
  await finger.send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints });
  await page.waitForSelector("#chosen:not([hidden])");
  await finger.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
  await rowOf(page, "beta.txt").tap();
  await chosen(page, ["alpha.txt", "beta.txt"]);
  await page.click("#choose-none");
  await rowOf(page, "beta.txt").tap();
  await page.waitForSelector("#preview");
  await visitor.close();
});

test("nodes: tiles show the same, and the choice of view is kept", async (world) => {
  const { visitor, page } = await withFiles(world);
  await page.getByRole("button", { name: "Show as tiles" }).click();
  await rowOf(page, "alpha.txt").focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Shift+ArrowRight");
  await chosen(page, ["beta.txt", "delta.txt"]);
  await page.reload();
  await page.waitForSelector('#grid[data-view="tiles"] .row');
  await page.keyboard.press("Shift+V");
  await page.waitForSelector('#grid[data-view="list"] .row');
  await visitor.close();
});

test("nodes: the sheet of shortcuts, and letters that are switched off", async (world) => {
  const { visitor, page } = await withFiles(world, ["alpha.txt"]);
  await page.locator("#folder-name").focus();
  await page.keyboard.press("?");
  await page.getByRole("heading", { name: "Keyboard shortcuts" }).waitFor();
  await page.getByLabel("Letters alone are shortcuts, too").uncheck();
  await page.keyboard.press("Escape");
  await page.waitForSelector("#help-sheet", { state: "detached" });
  await page.locator("#folder-name").focus();
  await page.keyboard.press("/");
  assert.notEqual(await page.evaluate(() => document.activeElement.id), "search-input");
  await visitor.close();
});
