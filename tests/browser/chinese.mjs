// chinese.mjs: Chinese names in every place a name can stand, on pages in Chinese.
import assert from "node:assert/strict";
import { download, go, makeFile, register, rowOf, test, uploaded, visit } from "./harness.mjs";

const FOLDER = "合同与发票（二〇二六）";
const FILE = "报告·终稿①.txt";
const RENAMED = "年终总结—最终版 𠮷野家.txt";
const tell = (page, text) => page.locator(".note").filter({ hasText: text }).waitFor();

/** Shares a row without a code, for everybody; answers its link. */
async function shareOpenly(page, name) {
  await rowOf(page, name).locator(".more").click();
  await page.getByRole("menuitem", { name: "分享" }).click();
  await page.fill("#share-code-input", "");
  await page.getByLabel("列入公开分享").check();
  await page.locator("#share-dialog [type=submit]").click();
  await page.locator("#shared .qr").waitFor();
  const link = await page.inputValue("#share-link");
  await page.keyboard.press("Escape");
  return link;
}

test("chinese: names of people, folders, files, shares and archives, everywhere", async (world) => {
  const visitor = await visit(world, { locale: "zh-CN" });
  const { page } = visitor;
  await register(visitor, { nickname: "欧阳若兰" });
  await page.click("#make-folder");
  await page.fill("#new-folder-input", FOLDER);
  await page.click("#new-folder button[type=submit]");
  await rowOf(page, FOLDER).waitFor();
  await page.setInputFiles("#picker", await makeFile(world.dir, FILE, 800));
  await uploaded(page, FILE);
  assert.equal((await download(page, FILE)).name, FILE);
  await rowOf(page, FILE).focus();
  await page.keyboard.press("F2");
  await page.locator(".rename").fill(RENAMED);
  await page.keyboard.press("Enter");
  await tell(page, RENAMED);
  await rowOf(page, RENAMED).dragTo(rowOf(page, FOLDER));
  await rowOf(page, RENAMED).waitFor({ state: "detached" });
  const arriving = page.waitForEvent("download");
  await rowOf(page, FOLDER).locator(".more").click();
  await page.getByRole("menuitem", { name: "下载" }).click();
  assert.equal((await arriving).suggestedFilename(), `${FOLDER}.zip`);
  const link = await shareOpenly(page, FOLDER);
  await page.getByTitle(FOLDER).click();
  await page.getByRole("heading", { name: FOLDER }).waitFor();
  await rowOf(page, RENAMED).locator(".name").click();
  await page.locator("#preview-title", { hasText: RENAMED }).waitFor();
  await page.keyboard.press("Escape");
  await page.fill("#search-input", "最终版 𠮷");
  await page.keyboard.press("Enter");
  await rowOf(page, RENAMED).waitFor();
  await go(page, "#/public");
  await page.getByRole("link", { name: FOLDER }).first().waitFor();
  await page.locator("#page-view").getByText("欧阳若兰").first().waitFor();
  await go(page, "#/shares");
  await page.getByRole("link", { name: FOLDER }).waitFor();

  const guest = await visit(world, { locale: "zh-CN" });
  await guest.page.goto(link);
  await guest.page.getByText("欧阳若兰").waitFor();
  await guest.page.getByTitle(FOLDER).click();
  await rowOf(guest.page, RENAMED).waitFor();
  assert.equal((await download(guest.page, RENAMED)).name, RENAMED);
  await guest.close();

  await go(page, "#/");
  await rowOf(page, FOLDER).focus();
  await page.keyboard.press("Delete");
  await go(page, "#/trash");
  await rowOf(page, FOLDER).waitFor();
  await visitor.close();
});
