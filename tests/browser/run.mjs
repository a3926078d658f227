// run.mjs: runs the browser tests and closes with one line of totals. Arguments are parts of test
// names; without any, all run. $URL names a site that is up; without it, a stack is started.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { declared, openBrowser, openDir, openProblems, openSite, SHOTS, Skip } from "./harness.mjs";
import "./texts.mjs";
import "./pages.mjs";
import "./queue.mjs";
import "./select.mjs";
import "./vendor.mjs";
import "./account.mjs";
import "./upload.mjs";
import "./folder.mjs";
import "./nodes.mjs";
import "./preview.mjs";
import "./shares.mjs";
import "./tabs.mjs";
import "./chinese.mjs";
import "./keyboard.mjs";
import "./big.mjs";
import "./hostile.mjs";
import "./weight.mjs";
import "./looks.mjs";
import "./settings.mjs";
import "./resume.mjs";

/** No test takes this long unless it hangs. */
const TEST_MS_MAX = Number(process.env.TEST_MS_MAX ?? 300_000);

function within(ms, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** What was rejected and nobody waited for, as after a test that has failed: never the end. */
const stray = [];
process.on("unhandledRejection", (error) => stray.push(error));

/** What every open page of a failed test shows. */
async function keepPages(browser, name) {
  mkdirSync(SHOTS, { recursive: true });
  for (const context of browser.contexts()) {
    for (const [index, page] of context.pages().entries()) {
      const path = join(SHOTS, `failed-${name.replace(/\W+/g, "-")}-${index}.png`);
      await page.screenshot({ path }).catch(() => {});
      console.log(`  the page: ${path}`);
    }
    await context.close().catch(() => {});
  }
}

async function main() {
  const site = await openSite();
  const words = process.argv.slice(2);
  const chosen = declared().filter(({ name }) =>
    words.length === 0 || words.some((word) => name.includes(word)));
  const browser = await openBrowser();
  const { dir, close } = openDir();
  const total = { passed: 0, failed: 0, skipped: declared().length - chosen.length };
  for (const { name, fn } of chosen) {
    const start = performance.now();
    try {
      await within(TEST_MS_MAX, fn({ ...site, browser, dir }));
      total.passed += 1;
      console.log(`ok    ${name} (${Math.round(performance.now() - start)} ms)`);
    } catch (error) {
      if (error instanceof Skip) {
        total.skipped += 1;
        console.log(`skip  ${name}: ${error.message}`);
        continue;
      }
      total.failed += 1;
      console.log(`FAILED ${name}\n${error.stack}`);
      for (const problem of openProblems()) console.log(`  on the page: ${problem}`);
      await keepPages(browser, name);
    }
  }
  await browser.close();
  for (const error of stray) console.log(`left behind: ${error?.stack ?? error}`);
  if (total.failed === 0) total.failed = stray.length; // else it may be what a failure left
  await site.close(total.failed > 0);
  close();
  console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  // What a failed test left open, such as a proxy that listens, keeps no run alive.
  process.exit(total.failed === 0 && total.passed > 0 ? 0 : 1);
}

await main();
