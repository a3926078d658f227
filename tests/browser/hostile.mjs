// hostile.mjs: names that are markup stay names; the first test shows that the trap would snap.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  go, makeFile, register, ROOT, rowOf, test, transferOf, uploaded, visit,
} from "./harness.mjs";
import { call } from "./seed.mjs";

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
  visitor.allow(/^409 \/api\/upload\//);
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

/** Elements that only a name taken for markup could have made. */
const foreign = (page) =>
  page.locator("img:not(.thumb), body script, iframe, b, [onload], [onerror], [onclick]").count();

/** Nothing ran, nothing was made. */
async function clean(page, where) {
  assert.equal(await page.evaluate(() => window.hacked), undefined, where);
  assert.equal(await foreign(page), 0, where);
}

test("hostile: a page that took names for markup would be noticed", async (world) => {
  const visitor = await visit(world);
  // The picture that the name asks for, and the policy that forbids what it would run.
  visitor.allow(/Content Security Policy/, /^404 \/x$/);
  const { page } = visitor;
  const source = readFileSync(join(ROOT, "www", "js", "browser.js"), "utf8");
  const bad = source.replace("name.textContent = node.name", `name["inner" + "HTML"] = node.name`);
  assert.notEqual(bad, source);
  await page.route("**/js/browser.js", (route) =>
    route.fulfill({ body: bad, contentType: "text/javascript" }));
  await register(visitor);
  const path = await makeFile(world.dir, NAMES[0], 50);
  await Promise.all([
    // The policy says what it has stopped.
    page.waitForEvent("console", (message) => /Content Security Policy/.test(message.text())),
    page.setInputFiles("#picker", path),
  ]);
  await uploaded(page, NAMES[0]);
  await page.waitForFunction(() => document.querySelector("#rows .name img") !== null);
  assert.ok((await foreign(page)) > 0, "the element is seen");
  await visitor.close();
});

test("hostile: such names stay names in every view, and for visitors", async (world) => {
  const visitor = await visit(world);
  const { page, url } = visitor;
  await register(visitor, { nickname: NAMES[0].slice(0, 40) });
  const parent = await call(page, "POST", "/api/disk", { name: NAMES[2] });
  for (const name of [NAMES[1], NAMES[3]]) {
    await call(page, "POST", "/api/disk", { name, parent: parent.id });
  }
  const old = await call(page, "POST", "/api/disk", { name: NAMES[4] });
  await call(page, "POST", "/api/disk", { name: NAMES[0] }); // where something may be moved
  await call(page, "PUT", `/api/mydisk/favourites/${parent.id}`);
  const share = await call(page, "POST", "/api/shares",
    { nodes: [parent.id], title: NAMES[0], public: true });
  await call(page, "POST", "/api/disk/trash", { ids: [old.id] });
  for (const [hash, name] of [
    [`#/folder/${parent.id}`, NAMES[1]], ["#/favourites", NAMES[2]], ["#/trash", NAMES[4]],
    [`#/search/${encodeURIComponent("svg onload")}`, NAMES[1]],
    [`#/search/${encodeURIComponent(NAMES[0])}`, null], ["#/shares", NAMES[0]],
    ["#/public", NAMES[0]], ["#/settings", null],
  ]) {
    await go(page, hash);
    if (name) {
      const shown = page.locator("#main").getByText(name, { exact: true });
      await shown.filter({ visible: true }).first().waitFor();
    } else await page.locator("#main h1:visible").waitFor();
    await clean(page, hash);
  }
  await go(page, "#/");
  await rowOf(page, NAMES[2]).focus();
  await page.keyboard.press("Shift+S");
  await page.waitForSelector("#share-dialog");
  await clean(page, "share");
  await page.keyboard.press("Escape");
  await rowOf(page, NAMES[2]).focus();
  await page.keyboard.press("Shift+M");
  await page.locator("#picker-dialog .picker button").filter({ hasText: NAMES[0] }).waitFor();
  await clean(page, "picker");
  await page.keyboard.press("Escape");
  const guest = await visit(world);
  await guest.page.goto(`${url}/share.html#/${share.id}`);
  await guest.page.getByTitle(NAMES[2]).click();
  await rowOf(guest.page, NAMES[1]).waitFor();
  await clean(guest.page, "visitor");
  await guest.close();
  await visitor.close();
});
