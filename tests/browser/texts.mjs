// texts.mjs: the pages' texts, without a browser: both languages have all of them, and no more.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { load, ROOT, test } from "./harness.mjs";

const www = join(ROOT, "www");
const texts = async (code) => (await load(`i18n/${code}.js`))[0].default;

function sources() {
  const pages = readdirSync(www).filter((name) => name.endsWith(".html"));
  const scripts = readdirSync(join(www, "js"), { recursive: true })
    .filter((name) => name.endsWith(".js") && !name.startsWith("i18n"));
  return [...pages, ...scripts.map((name) => join("js", name))]
    .map((name) => readFileSync(join(www, name), "utf8")).join("\n");
}

const holes = (text) => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort();

test("texts: English and Chinese have the same keys with the same holes", async () => {
  const [en, zh] = [await texts("en"), await texts("zh")];
  assert.deepEqual(Object.keys(zh).sort(), Object.keys(en).sort());
  for (const key of Object.keys(en)) {
    assert.deepEqual(holes(zh[key]), holes(en[key]), key);
    assert.notEqual(zh[key].trim(), "", key);
  }
});

/** What the server writes into its log of deeds, as its sources say. */
function deeds() {
  const root = join(ROOT, "src", "web");
  const sources = readdirSync(root, { recursive: true }).filter((name) => name.endsWith(".rs"));
  const found = new Set();
  for (const name of sources) {
    const [text] = readFileSync(join(root, name), "utf8").split("#[cfg(test)]");
    const calls = /\b(?:note|noted|deed|deed_of)\([^;"]*?"(\w+)"/g;
    const fields = /\baction(?:: | = if [^;"]*|, \w+\) = \()"(\w+)"(?: \} else \{ "(\w+)")?/g;
    for (const [, ...words] of [...text.matchAll(calls), ...text.matchAll(fields)]) {
      for (const one of words) if (one !== undefined) found.add(one);
    }
  }
  return found;
}

test("texts: what the server notes about people has words", () => {
  const view = readFileSync(join(www, "js", "views", "admin.js"), "utf8");
  const found = deeds();
  for (const one of ["login", "mkdir", "share", "rename", "token_made", "upload"]) {
    assert.ok(found.has(one), `the sources are searched: ${one}`);
  }
  for (const one of found) assert.ok(view.includes(`\n  ${one}: [`), `admin.js says ${one}`);
});

test("texts: every key that a page names exists, and every text is used", async () => {
  const en = await texts("en");
  const text = sources();
  for (const [, key] of text.matchAll(/data-t(?:-\w+)?="([^"]+)"/g)) {
    assert.ok(Object.hasOwn(en, key), `a page names ${key}`);
  }
  // Put together from what the server says, or from the state of something.
  const share = "^shares\\.(live|expired|used_up|stopped)$";
  const button = "^transfer\\.(pause|resume|again|retry)$";
  const computed = new RegExp(`^(error|kind|category)\\.|${share}|${button}`);
  for (const key of Object.keys(en)) {
    const base = key.replace(/_(one|other)$/, "");
    const named = text.includes(`"${key}"`) || text.includes(`"${base}"`);
    const used = named || computed.test(key);
    assert.ok(used, `nothing uses ${key}`);
  }
});
