// vendor.mjs: the libraries of others under www/vendor are those of the lock file, byte for byte,
// and each says under which licence it comes.
import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { HERE, ROOT, test } from "./harness.mjs";

const VENDOR = join(ROOT, "www", "vendor");
/** Folder of ours -> the package, and where in it the files lie. */
const PACKAGES = {
  "hash-wasm": ["hash-wasm", ["dist", ""]],
  highlight: ["@highlightjs/cdn-assets", ["es", ""]],
  marked: ["marked", ["lib", ""]],
  pdfjs: ["pdfjs-dist", ["build", ""]],
  "pdfjs/cmaps": ["pdfjs-dist", ["cmaps"]],
  uqr: ["uqr", ["dist", ""]],
};
/** Served under an ending that web servers know. */
const RENAMED = { "uqr.js": "index.mjs", "pdf.min.js": "pdf.min.mjs",
  "pdf.worker.min.js": "pdf.worker.min.mjs" };

function original(name, places, file) {
  for (const place of places) {
    const path = join(HERE, "node_modules", name, place, RENAMED[file] ?? file);
    if (statSync(path, { throwIfNoEntry: false })?.isFile()) return readFileSync(path);
  }
  return assert.fail(`${name} has no ${file}`);
}

test("vendor: every file is the published one, and has its licence beside it", () => {
  for (const [folder, [name, places]] of Object.entries(PACKAGES)) {
    const files = readdirSync(join(VENDOR, folder), { withFileTypes: true })
      .filter((entry) => entry.isFile()).map((entry) => entry.name);
    assert.ok(files.some((file) => file.startsWith("LICENSE")), `${folder} has no licence`);
    for (const file of files) {
      const ours = readFileSync(join(VENDOR, folder, file));
      assert.ok(ours.equals(original(name, places, file)), `${folder}/${file} differs`);
    }
  }
  const known = Object.keys(PACKAGES).map((folder) => folder.split("/")[0]);
  for (const folder of readdirSync(VENDOR)) {
    assert.ok(folder === "README.md" || known.includes(folder), `nobody knows ${folder}`);
  }
});
