// pages.mjs: what several pages hold is the same in all of them. Plain HTML has no way to include;
// this keeps copies from growing apart. Needs no site.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT, test } from "./harness.mjs";

const www = join(ROOT, "www");
const page = (name) => readFileSync(join(www, name), "utf8");

/** The lines from one mark to another, without what a page may say for itself. */
function part(text, from, to) {
  const begin = text.indexOf(from);
  const end = text.indexOf(to, begin);
  assert.ok(begin >= 0 && end > begin, `${from} … ${to}`);
  return text.slice(begin, end).split("\n").map((line) => line.replace(/ hidden(?=[ >])/g, ""));
}

test("pages: every head says the same but for its scripts and whether it may be found", () => {
  const pages = readdirSync(www).filter((name) => name.endsWith(".html") && name !== "index.html");
  const own = /type="module"|rel="modulepreload"|name="robots"/;
  const heads = pages.map((name) =>
    part(page(name), "<!doctype", "</head>").filter((line) => !own.test(line)));
  for (const [index, head] of heads.entries()) assert.deepEqual(head, heads[0], pages[index]);
  assert.ok(pages.length >= 4 && heads[0].length > 8);
});

test("pages: a visitor's list is the owner's, and both doors have one frame", () => {
  for (const [one, other, from, to] of [
    ["files.html", "share.html", '<div id="list-view"', '<div id="failed"'],
    ["files.html", "share.html", '<template id="row">', "</template>"],
    ["login.html", "register.html", '<header class="door-art">', '<form id="door"'],
  ]) {
    assert.deepEqual(part(page(one), from, to), part(page(other), from, to), `${other}: ${from}`);
  }
});
