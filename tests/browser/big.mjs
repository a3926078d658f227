// big.mjs: a lot at once: a folder of 100,000 entries that opens and scrolls, and 50,000 queued
// files beside which the keyboard still answers at once.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { register, rowOf, Skip, test, visit } from "./harness.mjs";

const ENTRIES = 100_000;
const FILES = 50_000;
/** From a key to the next picture, at most. */
const KEY_MS_MAX = 100;
/** The machine is shared: of so many tries the best counts. */
const ROUNDS = 4;
const LETTERS = "abc123 xyz";

/** Puts many entries into somebody's root folder, past the pages. */
function fill(run, name) {
  const sql = `INSERT INTO node (owner, name, kind, size, category, created_ms, modified_ms)
    SELECT user.id, CONCAT('条目 ', LPAD(seq, 6, '0')), 0, 0, 0, 1, 1
    FROM user JOIN seq_1_to_${ENTRIES} WHERE user.name = '${name}'`;
  execFileSync("mariadb", [
    "--no-defaults",
    "--protocol=socket",
    `--socket=${run}/mysql.sock`,
    "--user=root",
    "fastdisk",
    "-e",
    sql,
  ]);
}

test(`big: a folder of ${ENTRIES} entries opens, scrolls and chooses`, async (world) => {
  if (!world.run) throw new Skip("the database of this site is not ours");
  const visitor = await visit(world);
  const { page } = visitor;
  const name = await register(visitor);
  fill(world.run, name);
  const start = performance.now();
  await page.reload();
  await rowOf(page, "条目 000001").waitFor();
  console.log(`      the folder's first rows after ${Math.round(performance.now() - start)} ms`);
  const end = () =>
    page.evaluate(() => {
      const scroller = document.querySelector("#scroller");
      scroller.scrollTop = scroller.scrollHeight;
      return document.querySelector("#count").textContent;
    });
  // Each turn of the wheel shows more, until the count has no plus any more.
  await page.waitForFunction(
    (wanted) => {
      const scroller = document.querySelector("#scroller");
      scroller.scrollTop = scroller.scrollHeight;
      return document.querySelector("#count").textContent === wanted;
    },
    "100,000 items",
    { timeout: 200_000, polling: 30 },
  );
  await end();
  await rowOf(page, "条目 100000").waitFor();
  const drawn = await page.locator("#rows .row").count();
  assert.ok(drawn < 80, `${drawn} rows are in the document`);
  await page.locator("#choose-all").check();
  assert.equal(await page.textContent("#chosen-count"), "100,000 selected");
  await page.click("#choose-none");
  await visitor.close();
});

/** How long each letter takes from the key to the picture after it. */
async function typed(page, letters) {
  await page.evaluate(() => {
    const input = document.querySelector("#search-input");
    window.spent = [];
    input.onkeydown = (event) => {
      const start = event.timeStamp;
      window.requestAnimationFrame(() =>
        setTimeout(() => window.spent.push(performance.now() - start), 0),
      );
    };
  });
  await page.focus("#search-input");
  await page.keyboard.type(letters, { delay: 40 });
  await page.waitForFunction((count) => window.spent.length >= count, letters.length);
  return page.evaluate(() => window.spent);
}

test(`big: ${FILES} files are queued, and typing goes on`, async (world) => {
  const visitor = await visit(world);
  visitor.allow(/ERR_/);
  const { page } = visitor;
  await register(visitor);
  await page.evaluate((count) => {
    const data = new window.DataTransfer();
    for (let n = 0; n < count; n += 1) data.items.add(new window.File([`${n}`], `file-${n}.txt`));
    const picker = document.querySelector("#picker");
    picker.files = data.files;
    picker.dispatchEvent(new window.Event("change"));
  }, FILES);
  await page.waitForFunction((least) => {
    const words = document.querySelector("#transfer-title").textContent;
    return Number(words.replace(/\D/g, "")) > least;
  }, FILES * 0.9);
  const worst = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    worst.push(Math.max(...(await typed(page, LETTERS))));
    assert.equal(await page.inputValue("#search-input"), LETTERS);
    await page.fill("#search-input", "");
  }
  const best = Math.min(...worst);
  console.log(`      the slowest key of each round: ${worst.map(Math.round).join(", ")} ms`);
  assert.ok(best < KEY_MS_MAX, `${Math.round(best)} ms for a key`);
  assert.match(await page.textContent("#transfer-title"), /Uploading [45]\d,\d{3} files/);
  await page.getByRole("button", { name: "Cancel all" }).click();
  await page.waitForSelector("#transfer-total", { state: "hidden" });
  await visitor.close();
});
