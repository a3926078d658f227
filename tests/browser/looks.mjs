// looks.mjs: every view in both themes, both languages, on a desk and on a phone: a picture of each
// in target/screenshots to look at, the accessibility rules of axe, and no text left untranslated.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { violations } from "./axe.mjs";
import {
  load, NEW_HERE, ready, rowOf, SHOTS, Skip, test, visit,
} from "./harness.mjs";
import { seed } from "./seed.mjs";
import * as views from "./views.mjs";

/** Which runs axe looks at: each theme on each device, and both languages with each of them. */
const AXED = new Set([
  "light-en-desktop", "light-zh-phone", "dark-zh-desktop", "dark-en-phone",
]);
const DEVICES = {
  desktop: { viewport: { width: 1280, height: 800 } },
  phone: { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true },
};
/** What goes wrong on the way because the walk makes it: the answer, and the view it belongs to. */
const MEANT = [
  /401 \/api\/(login|session)$/, /400 \/api\/register$/, /409 \/api\/(upload|disk)\b/,
  /403 \/api\/share\/\w+\/open$/, /410 \/api\/share\/\w+$/, NEW_HERE,
  /ERR_INTERNET_DISCONNECTED/, /ERR_(FAILED|ABORTED)/,
];

/** Words of the other language that a page shows. */
function strangers(page, words) {
  return page.evaluate((list) => {
    const other = new Set(list);
    const found = [];
    for (const element of document.querySelectorAll("body *")) {
      if (!element.checkVisibility()) continue;
      const own = [...element.childNodes].filter((one) => one.nodeType === 3)
        .map((one) => one.data.trim());
      const named = ["aria-label", "title", "placeholder"].map((one) => element.getAttribute(one));
      for (const text of [...own, ...named]) if (other.has(text)) found.push(text);
    }
    return found;
  }, words);
}

/** Texts of one language that the other says otherwise, as they may stand on a page. */
async function foreign(lang) {
  const [{ default: en }, { default: zh }] = await load("i18n/en.js", "i18n/zh.js");
  const [own, other] = lang === "en" ? [en, zh] : [zh, en];
  const ours = new Set(Object.values(own));
  const names = new Set(["English", "中文"]); // each language is called by its own name
  return Object.values(other).filter((text) =>
    !ours.has(text) && !text.includes("{") && !names.has(text));
}

/** Takes a picture of all of a page that scrolls inside its frame. */
async function tallShot(page, path) {
  const was = page.viewportSize();
  const height = await page.evaluate(() => {
    const view = document.querySelector("#page-view");
    return window.innerHeight + view.scrollHeight - view.clientHeight;
  });
  await page.setViewportSize({ width: was.width, height });
  await page.screenshot({ path });
  await page.setViewportSize(was);
}

/** Small pictures that can be seen have come, and what plays knows how long it is. */
const whole = (page) => page.waitForFunction(() => {
  const seen = [...document.querySelectorAll("#rows img.thumb[src]")].filter((one) => {
    const { top, bottom } = one.getBoundingClientRect();
    return bottom > 0 && top < window.innerHeight;
  });
  const playing = [...document.querySelectorAll("audio, video")];
  return seen.every((one) => one.classList.contains("shown"))
    && playing.every((one) => one.readyState > 0);
});

/** The look of one walk: the picture, and what is wrong with what it shows. */
function looker(page, tag, words, found) {
  return async (view, tall = false) => {
    const path = join(SHOTS, `${view}-${tag}.png`);
    await whole(page);
    await (tall ? tallShot(page, path) : page.screenshot({ path }));
    const wide = await page.evaluate(() => 
      document.documentElement.scrollWidth - window.innerWidth);
    if (wide > 0) found.push(`${view}-${tag}: ${wide} pixels too wide`);
    for (const code of await page.locator(".deed").filter({ hasText: /^[a-z_]+$/ }).all()) {
      found.push(`${view}-${tag}: ${await code.textContent()} has no words`);
    }
    for (const text of await strangers(page, words)) found.push(`${view}-${tag}: “${text}”`);
    if (!AXED.has(tag)) return;
    for (const one of await violations(page)) found.push(`${view}-${tag}: ${one}`);
  };
}

/** Goes through some views as somebody. */
async function walk(world, { tag, options, words, found }, storageState, steps) {
  const visitor = await visit(world, { ...options, storageState });
  visitor.allow(...MEANT);
  const { page, url } = visitor;
  const seeded = await seed(world);
  const look = looker(page, tag, words, found);
  for (const step of steps) await step({ page, url, seeded, tag, world, look });
  await visitor.close();
}

/** How a walk on one device looks, and room for what is wrong with it. */
async function aboutWalk(theme, lang, device) {
  const locale = lang === "zh" ? "zh-CN" : "en-US";
  return {
    tag: `${theme}-${lang}-${device}`, found: [], words: await foreign(lang),
    options: { colorScheme: theme, locale, ...DEVICES[device] },
  };
}

/** Goes through all views on one device; answers what is wrong with them. */
async function tour(world, theme, lang, device) {
  const { state } = await seed(world);
  const about = await aboutWalk(theme, lang, device);
  await walk(world, about, undefined, [views.door, views.visitor]);
  await walk(world, about, state, [
    views.folders, views.questions, views.previews, views.places, views.settings,
    views.transfers, views.curtains,
  ]);
  return about.found;
}

/** The same of what only the administrator sees. */
async function tourOfAdmin(world, theme, lang, device) {
  const { admin } = await seed(world);
  const about = await aboutWalk(theme, lang, device);
  await walk(world, about, admin, [views.administration]);
  return about.found;
}

for (const theme of ["light", "dark"]) {
  for (const lang of ["en", "zh"]) {
    test(`looks: every view, ${theme}, ${lang}`, async (world) => {
      mkdirSync(SHOTS, { recursive: true });
      await seed(world);
      const found = [];
      // One after the other: it is one account, and what one uploads is in the other's way.
      for (const device of Object.keys(DEVICES)) {
        found.push(...await tour(world, theme, lang, device));
      }
      assert.deepEqual(found, [], found.join("\n"));
    });
    test(`looks: what the administrator sees, ${theme}, ${lang}`, async (world) => {
      if (!world.admin) throw new Skip("the password of this site is not known");
      mkdirSync(SHOTS, { recursive: true });
      const found = [];
      for (const device of Object.keys(DEVICES)) {
        found.push(...await tourOfAdmin(world, theme, lang, device));
      }
      assert.deepEqual(found, [], found.join("\n"));
    });
  }
}

test("looks: nothing is cut off or scrolls sideways, from 320 pixels to 4K", async (world) => {
  const { state } = await seed(world);
  const visitor = await visit(world, { storageState: state });
  const { page, url } = visitor;
  const sizes = [[320, 568], [768, 1024], [1920, 1080], [3840, 2160]];
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
  for (const [view, sign] of [
    ["files", "#rows .row"], ["settings", "#page-view .figure"], ["shares", "#page-view .line"],
    ["public", "#page-view .line"],
  ]) {
    await page.goto(`${url}/files.html#/${view === "files" ? "" : view}`);
    if (view === "files") await rowOf(page, "main.rs").waitFor();
    await page.waitForSelector(sign);
    await check(view);
  }
  await visitor.close();
});
