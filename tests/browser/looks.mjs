// looks.mjs: every view in both themes, both languages, on a desk and on a phone: a picture of each
// in target/screenshots to look at, and the accessibility rules of axe on each.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { makeFile, PASSWORD, ready, register, rowOf, SHOTS, test, visit } from "./harness.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
/** Which runs axe looks at: each theme, language and device is in one of them. */
const AXED = /en-desktop|zh-phone/;
const DEVICES = {
  desktop: { viewport: { width: 1280, height: 800 } },
  phone: { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true },
};
const FILES = [
  ["西湖夜景 2026-11.jpg", 340_000], ["季度报告.pdf", 81_234], ["backup.tar.zst", 900_000],
  ["interview.mp3", 510_000], ["walk.mp4", 1_200_000], ["main.rs", 4_310],
  ["a very long file name that nobody can be expected to read to its end in one go.docx", 12_000],
  ["<img src=x onerror=alert(1)>.png", 300],
];

/** Takes the picture and asks axe; what it finds is added up and told at the end. */
async function look(visitor, view, tag, found) {
  const { page } = visitor;
  await page.evaluate(() => document.fonts.ready);
  await page.screenshot({ path: join(SHOTS, `${view}-${tag}.png`) });
  if (!AXED.test(tag)) return;
  await page.evaluate(AXE);
  const { violations } = await page.evaluate((rules) =>
    window.axe.run(document, { runOnly: rules }), RULES);
  for (const { id, nodes } of violations) {
    const where = nodes.map((node) => `${node.target.join(" ")}: ${node.failureSummary}`);
    found.push(`${view}-${tag}: ${id}: ${where.join("\n    ")}`);
  }
}

async function door(visitor, tag, found) {
  const { page, url } = visitor;
  await page.goto(`${url}/login.html`);
  await ready(page);
  await look(visitor, "login", tag, found);
  await page.fill("#name", "nobody");
  await page.fill("#password", "not the password");
  await page.click("button[type=submit]");
  await page.waitForSelector(".form-error:not(:empty)");
  await look(visitor, "login-error", tag, found);
  await page.goto(`${url}/register.html`);
  await ready(page);
  await look(visitor, "register", tag, found);
  await page.fill("#name", "no/slash");
  await page.fill("#password", PASSWORD);
  await page.click("button[type=submit]");
  await page.waitForSelector("#name-error:not(:empty)");
  await look(visitor, "register-error", tag, found);
}

async function folders(visitor, world, tag, found, files = FILES) {
  const { page } = visitor;
  await register(visitor, { nickname: "林小雨" });
  await look(visitor, "empty", tag, found);
  for (const name of ["Photographs 2026", "合同与发票"]) {
    await page.click("#make-folder");
    await page.fill("#new-folder-input", name);
    await page.click("#new-folder button[type=submit]");
    await rowOf(page, name).waitFor();
  }
  const paths = [];
  for (const [name, bytes] of files) paths.push(await makeFile(world.dir, name, bytes));
  await page.setInputFiles("#picker", paths);
  await page.waitForFunction(() =>
    document.querySelector("#transfer-total").hidden && !document.querySelector(".note"));
  await page.waitForTimeout(1_000); // the used space is asked for once all is quiet
  await look(visitor, "uploaded", tag, found);
  await page.click("#transfer-fold");
  await look(visitor, "list", tag, found);
  await page.click("#transfer-fold");
  return paths;
}

async function questions(visitor, paths, tag, found) {
  const { page } = visitor;
  await page.setInputFiles("#picker", paths[1]);
  await page.waitForSelector("#conflict[open]");
  await look(visitor, "conflict", tag, found);
  await page.click("#conflict [value=keep]");
  await page.click("#make-folder");
  await page.fill("#new-folder-input", "合同与发票");
  await page.click("#new-folder button[type=submit]");
  await page.waitForSelector("#new-folder-input-error:not(:empty)");
  await look(visitor, "new-folder", tag, found);
  await page.keyboard.press("Escape");
  await page.click("#account");
  await look(visitor, "menu", tag, found);
  await page.keyboard.press("Escape");
  await page.getByTitle("Photographs 2026").click();
  await page.waitForSelector("#empty:not([hidden])");
  await look(visitor, "folder", tag, found);
  await page.goBack();
}

/** Files to upload, and a network slow enough to watch them. */
async function slowDown({ page, context }, world, tag) {
  await page.click("#transfer-clear");
  const client = await context.newCDPSession(page);
  await client.send("Network.emulateNetworkConditions", {
    offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: 150_000,
  });
  const more = [["海边日落.mp4", 4e6], ["dataset.zip", 3e6], ["lecture-03.mp4", 3e6],
    ["notes.md", 2e5], ["IMG_0001.jpg", 2e6]];
  const paths = [];
  for (const [name, bytes] of more) {
    // What an earlier picture has sent would be there at once.
    paths.push(await makeFile(world.dir, name, bytes, `${name} ${tag}`));
  }
  return { paths, client };
}

async function transfers(visitor, world, tag, found) {
  const { page, context } = visitor;
  const { paths, client } = await slowDown(visitor, world, tag);
  await page.setInputFiles("#picker", paths);
  await page.waitForFunction(() =>
    document.querySelector("#transfer-total").value > 0.02);
  await look(visitor, "sending", tag, found);
  await page.click("#transfer-cancel");
  await client.detach(); // the network is as fast as it is again
  await context.setOffline(true);
  await page.setInputFiles("#picker", paths[3]);
  await page.waitForSelector('#transfer-rows [data-state="waiting"]');
  await look(visitor, "waiting", tag, found);
  await page.click("#transfer-cancel");
  await page.click("#transfer-clear");
  await page.evaluate(() => { location.hash = "#/folder/1"; });
  await page.waitForSelector("#failed:not([hidden])");
  await look(visitor, "failed", tag, found);
  await context.setOffline(false);
}

async function curtains(visitor, tag, found) {
  const { page } = visitor;
  let release;
  const held = new Promise((resolve) => { release = resolve; });
  await page.route("**/api/disk/**", async (route) => {
    await held;
    await route.continue();
  });
  await page.evaluate(() => { location.hash = "#/"; });
  await page.waitForSelector("#loading:not([hidden])");
  await look(visitor, "loading", tag, found);
  release();
  await rowOf(page, "main.rs").waitFor();
  await page.evaluate(() => {
    const data = new window.DataTransfer();
    data.items.add(new window.File(["x"], "x.txt"));
    const enter = { dataTransfer: data, cancelable: true };
    window.dispatchEvent(new window.DragEvent("dragenter", enter));
  });
  await page.waitForSelector("#drop:not([hidden])");
  await look(visitor, "drop", tag, found);
}

for (const theme of ["light", "dark"]) {
  for (const lang of ["en", "zh"]) {
    for (const [device, options] of Object.entries(DEVICES)) {
      const tag = `${theme}-${lang}-${device}`;
      test(`looks: every view, ${tag}`, async (world) => {
        mkdirSync(SHOTS, { recursive: true });
        const locale = lang === "zh" ? "zh-CN" : "en-US";
        const visitor = await visit(world, { colorScheme: theme, locale, ...options });
        visitor.allow(/401.*\/api\/login/, /400.*\/api\/register/, /409/, /ERR_/);
        const found = [];
        await door(visitor, tag, found);
        const paths = await folders(visitor, world, tag, found);
        await questions(visitor, paths, tag, found);
        await transfers(visitor, world, tag, found);
        await curtains(visitor, tag, found);
        await visitor.close();
        assert.deepEqual(found, [], found.join("\n"));
      });
    }
  }
}

test("looks: the picture for the front page", async (world) => {
  const visitor = await visit(world);
  const { page } = visitor;
  await folders(visitor, world, "front", [], FILES.slice(0, -1));
  const { paths } = await slowDown(visitor, world, "front");
  await page.setInputFiles("#picker", paths);
  await page.waitForFunction(() => document.querySelector("#transfer-total").value > 0.2);
  await page.screenshot({ path: join(SHOTS, "front.png") });
  await page.click("#transfer-cancel");
  await visitor.close();
});

test("looks: nothing is cut off or scrolls sideways, from 320 pixels to 4K", async (world) => {
  const visitor = await visit(world);
  const { page, url } = visitor;
  const sizes = [[320, 568], [360, 740], [768, 1024], [1280, 800], [1920, 1080], [3840, 2160]];
  const check = async (view) => {
    for (const [width, height] of sizes) {
      await page.setViewportSize({ width, height });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(wide <= width, `${view} at ${width} is ${wide} wide`);
      await page.screenshot({ path: join(SHOTS, `${view}-${width}.png`) });
    }
  };
  for (const view of ["login", "register"]) {
    await page.goto(`${url}/${view}.html`);
    await ready(page);
    await check(view);
  }
  await register(visitor);
  const paths = [];
  for (const [name, bytes] of FILES) paths.push(await makeFile(world.dir, name, bytes));
  await page.setInputFiles("#picker", paths);
  await page.waitForFunction(() => document.querySelector("#transfer-total").hidden);
  await check("files");
  await visitor.close();
});
