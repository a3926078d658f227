// tabs.mjs: two tabs show one disk: what is done in one is seen in the other, whatever it is.
import { go, makeFile, makeFolder, rowOf, test } from "./harness.mjs";
import { withFiles } from "./nodes.mjs";

const gone = (page, name) => rowOf(page, name).waitFor({ state: "detached" });
const press = async (page, name, key) => {
  await rowOf(page, name).focus();
  await page.keyboard.press(key);
};

/** Somebody with files, and two tabs that listen. */
async function twoTabs(world) {
  const { visitor, page } = await withFiles(world, ["alpha.txt", "beta.txt", "gamma.txt"]);
  const second = await visitor.open();
  await second.goto(page.url());
  for (const one of [page, second]) {
    await one.waitForSelector("html[data-live]");
    await rowOf(one, "alpha.txt").waitFor();
  }
  return { visitor, page, second };
}

test("tabs: a new folder, an upload, a deletion in one are seen in the other", async (world) => {
  const { visitor, page, second } = await twoTabs(world);
  await makeFolder(second, "从另一个标签页");
  await rowOf(page, "从另一个标签页").waitFor();
  await page.setInputFiles("#picker", await makeFile(world.dir, "live.txt", 500));
  await rowOf(second, "live.txt").waitFor();
  await press(page, "alpha.txt", "Delete");
  await gone(second, "alpha.txt");
  await visitor.close();
});

test("tabs: a new name, a move, the recycle bin and back are seen in the other", async (world) => {
  const { visitor, page, second } = await twoTabs(world);
  await makeFolder(page, "里面");
  await press(page, "beta.txt", "F2");
  await page.keyboard.type("改名");
  await page.keyboard.press("Enter");
  await rowOf(second, "改名.txt").waitFor();
  await gone(second, "beta.txt");
  await rowOf(page, "改名.txt").dragTo(rowOf(page, "里面"));
  await gone(second, "改名.txt");
  await second.getByTitle("里面").click();
  await rowOf(second, "改名.txt").waitFor();
  await rowOf(page, "gamma.txt").dragTo(rowOf(page, "里面"));
  await rowOf(second, "gamma.txt").waitFor(); // into the folder that is open there
  await go(second, "#/trash");
  await second.getByRole("heading", { name: "The recycle bin is empty" }).waitFor();
  await press(page, "alpha.txt", "Delete");
  await rowOf(second, "alpha.txt").waitFor();
  await page.keyboard.press("Control+z");
  await gone(second, "alpha.txt");
  await rowOf(page, "alpha.txt").waitFor();
  await visitor.close();
});

test("tabs: a share made in one stands in the list of the other", async (world) => {
  const { visitor, page, second } = await twoTabs(world);
  await go(second, "#/shares");
  await second.getByRole("heading", { name: "My shares" }).waitFor();
  await press(page, "alpha.txt", "Shift+S");
  await page.locator("#share-dialog [type=submit]").click();
  await page.locator("#shared .qr").waitFor();
  await second.getByRole("link", { name: "alpha.txt" }).waitFor();
  await visitor.close();
});
