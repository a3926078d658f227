// hostile.mjs: names that are markup stay names; the first test shows that the trap would snap.
import assert from "node:assert/strict";
import {
  makeFile, NO_PICTURE, register, rowOf, test, transferOf, uploaded, visit,
} from "./harness.mjs";

/** Names that a careless page would run or break on; a file system takes them all. */
const NAMES = [
  "<img src=x onerror=window.hacked=1>.png",
  "\"><svg onload=window.hacked=1>.svg",
  "<script>window.hacked=1<",
  "{{constructor.constructor('window.hacked=1')()}}.txt",
  "&lt;b&gt;&amp;.txt",
  "%2e%2e%2fetc%2fpasswd?x=1#y&z.txt",
  "back`tick ${window.hacked=1} $&.txt",
];

test("hostile: the trap notices a page that takes names for markup", async (world) => {
  const context = await world.browser.newContext();
  const page = await context.newPage();
  await page.setContent("<p></p>");
  await page.evaluate((name) => {
    document.querySelector("p")["inner" + "HTML"] = name;
  }, NAMES[0]);
  await page.waitForFunction(() => window.hacked === 1);
  await context.close();
});

test("hostile: markup in file names is shown as it is and never runs", async (world) => {
  const visitor = await visit(world);
  visitor.allow(/^409 \/api\/upload\//, NO_PICTURE);
  const { page } = visitor;
  await register(visitor, { nickname: "<b onclick=window.hacked=1>" });
  const paths = [];
  for (const name of NAMES) paths.push(await makeFile(world.dir, name, 50));
  await page.setInputFiles("#picker", paths);
  for (const name of NAMES) {
    await uploaded(page, name);
    await rowOf(page, name).waitFor();
    assert.equal(await transferOf(page, name).locator(".name").textContent(), name);
  }
  await page.setInputFiles("#picker", paths[0]); // the same in the question and the notes
  await page.waitForSelector("#conflict[open]");
  assert.ok((await page.textContent("#conflict-text")).includes(NAMES[0]));
  await page.getByRole("button", { name: "Skip" }).click();
  await page.click("#make-folder");
  await page.fill("#new-folder-input", "<iframe srcdoc=x>");
  await page.click("#new-folder button[type=submit]");
  await page.getByTitle("<iframe srcdoc=x>").click();
  await page.getByRole("heading", { name: "<iframe srcdoc=x>" }).waitFor();
  await page.reload();
  await page.getByRole("heading", { name: "<iframe srcdoc=x>" }).waitFor();
  await page.goBack();
  await rowOf(page, NAMES[0]).waitFor();
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  const foreign = page.locator("main img:not(.thumb), main script, main iframe, main b");
  assert.equal(await foreign.count(), 0);
  await visitor.close();
});
