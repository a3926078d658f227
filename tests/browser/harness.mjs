// harness.mjs: what every browser test needs: a running site, a browser, a visitor whose page is
// watched for anything that goes wrong, files to upload. Holds no test.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createCipheriv, createHash, randomBytes } from "node:crypto";
import {
  cpSync, createReadStream, createWriteStream, mkdirSync, mkdtempSync, rmSync, writeFileSync,
} from "node:fs";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { chromium } from "playwright-core";

export const HERE = dirname(fileURLToPath(import.meta.url));
export const ROOT = join(HERE, "..", "..");
export const SHOTS = join(ROOT, "target", "screenshots");
/** A step that has not happened after this long will not happen. */
export const STEP_MS_MAX = Number(process.env.STEP_MS_MAX ?? 30_000);

/** Edits of the shipped configuration: more accounts than one address may usually make. */
const EDITS = [
  "s/^registrations_per_address_max = .*/registrations_per_address_max = 1000/",
];

const tests = [];

/** Declares a test. `fn` gets the world: `{ url, browser, dir }`, and `{ run, admin }` of a stack
 * of our own. */
export function test(name, fn) {
  tests.push({ name, fn });
}

/** Thrown by a test that cannot run here; it is counted, and never counted as passed. */
export class Skip extends Error {}

export function declared() {
  return tests;
}

/**
 * Loads scripts of the pages without a browser. From a copy, because Node before version 20 takes
 * a `.js` file for a module only if a package.json beside it says so, and www has none to serve.
 */
export async function load(...scripts) {
  const { dir, close } = openDir();
  try {
    cpSync(join(ROOT, "www", "js"), dir, { recursive: true });
    writeFileSync(join(dir, "package.json"), '{"type":"module"}');
    return await Promise.all(scripts.map((script) => import(join(dir, script))));
  } finally {
    close();
  }
}

/** Who runs the drive, as `make run` prints it. */
function adminOf(text = "") {
  const [, name, password] = /name:\s*(\S+).*password:\s*(\S+)/.exec(text) ?? [];
  return name ? { name, password } : undefined;
}

/**
 * The site under test: the one at $URL, else a whole stack of our own. For a site that is up, $RUN
 * is its run directory and $ADMIN the line that told its administrator, if they are known.
 */
export async function openSite() {
  const { URL: url, RUN: run, ADMIN: told } = process.env;
  if (url) return { url: url.replace(/\/$/, ""), run, admin: adminOf(told), close: () => {} };
  const script = join(ROOT, "tests", "support", "serve-stack.sh");
  const child = spawn(script, EDITS, { stdio: ["pipe", "pipe", "inherit"] });
  const ended = once(child, "exit");
  const facts = {};
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === "ready") break;
    const at = line.indexOf("=");
    facts[line.slice(0, at)] = line.slice(at + 1);
  }
  if (!facts.url) throw new Error("the stack did not start; its log is above");
  const close = async (keep) => {
    if (keep) child.stdin.write("keep\n");
    child.stdin.end();
    await ended;
  };
  const admin = adminOf(facts.admin);
  if (!admin) throw new Error(`the stack told of no administrator: ${facts.admin}`);
  return { url: facts.url, run: facts.run, admin, close };
}

export function openBrowser() {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  return chromium.launch({
    executablePath,
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
      "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    ],
  });
}

/** A directory for this run's files, and how to remove it. */
export function openDir() {
  const dir = mkdtempSync(join(tmpdir(), "fastdisk-browser-"));
  return { dir, close: () => rmSync(dir, { recursive: true, force: true }) };
}

/** Notes everything that must not happen on a page. */
function watch(page, url, visitor) {
  const expected = (text) => visitor.allowed.some((pattern) => pattern.test(text));
  const report = (text) => {
    if (!expected(text)) visitor.problems.push(text);
  };
  page.on("pageerror", (error) => report(`exception: ${error.message}`));
  page.on("console", (message) => {
    if (!["error", "warning"].includes(message.type())) return;
    if (/the server responded with a status of/.test(message.text())) return; // see `response`
    report(`console: ${message.text()} ${message.location().url}`);
  });
  page.on("request", (request) => {
    const own = request.url().startsWith(`${url}/`) || /^(data|blob):/.test(request.url());
    if (!own) report(`foreign request: ${request.url()}`);
  });
  page.on("requestfailed", (request) => {
    const why = request.failure()?.errorText;
    const path = request.url().slice(url.length);
    const leftBehind = why === "net::ERR_ABORTED"; // a download, or the page went elsewhere
    if (!leftBehind) report(`failed: ${request.method()} ${path} ${why}`);
  });
  page.on("response", (response) => {
    const path = response.url().slice(url.length);
    if (response.status() >= 400) report(`${response.status()} ${path}`);
  });
}

/** An answer that belongs to an upload: this content is new here, so it is to be sent. */
export const NEW_HERE = /^404 \/api\/instant\/\w+$/;

/** Whoever is there now; a test that fails leaves them behind. */
const visitors = new Set();

/** What has gone wrong so far on the pages that are open. */
export function openProblems() {
  const problems = [...visitors].flatMap((visitor) => visitor.problems);
  visitors.clear();
  return problems;
}

/** A person in front of a browser of their own. */
export async function visit({ browser, url }, options = {}) {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 800 }, locale: "en-US", reducedMotion: "reduce",
    ...options,
  });
  context.setDefaultTimeout(STEP_MS_MAX);
  const page = await context.newPage();
  const visitor = {
    page, context, url, problems: [],
    /** Another tab, watched like the first. */
    open: async () => {
      const another = await context.newPage();
      watch(another, url, visitor);
      return another;
    },
    allowed: [],
    /** Says that something which would otherwise be a problem belongs to the test. */
    allow: (...patterns) => visitor.allowed.push(...patterns),
    close: async () => {
      await context.close();
      visitors.delete(visitor);
      assert.deepEqual(visitor.problems, [], "the page had problems");
    },
  };
  watch(page, url, visitor);
  visitors.add(visitor);
  return visitor;
}

/** Opens a view by its address; the page has heard of it when this is over. */
export const go = (page, hash) => page.evaluate((to) => new Promise((resolve) => {
  const before = location.hash;
  window.addEventListener("hashchange", () => resolve(undefined), { once: true });
  location.hash = to;
  if (location.hash === before) resolve(undefined); // it is there already: nothing is told
}), hash);

export async function ready(page) {
  await page.waitForSelector("html[data-ready]");
}

let people = 0;
const run = randomBytes(3).toString("hex");

/** A user name that nobody had before. */
export function newName() {
  people += 1;
  return `p${run}-${people}`;
}

export const PASSWORD = "seven quiet herons";

/** Registers through the page; ends on the files page. */
export async function register(visitor, { nickname = "" } = {}) {
  const { page, url } = visitor;
  const name = newName();
  await page.goto(`${url}/register.html`);
  await ready(page);
  await page.fill("#name", name);
  await page.fill("#password", PASSWORD);
  if (nickname) await page.fill("#nickname", nickname);
  await page.click("button[type=submit]");
  await page.waitForURL(/files/);
  await page.waitForSelector("#empty:not([hidden])");
  return name;
}

/** Writes a file of bytes that nothing can compress or guess; the same for the same seed. */
export async function makeFile(dir, name, bytes, seed = name) {
  const path = join(dir, name);
  mkdirSync(dirname(path), { recursive: true });
  const key = createHash("md5").update(seed).digest();
  const cipher = createCipheriv("aes-128-ctr", key, Buffer.alloc(16));
  const out = createWriteStream(path);
  const zeros = Buffer.alloc(1 << 20);
  for (let left = bytes; left > 0; left -= zeros.length) {
    const chunk = cipher.update(zeros.subarray(0, Math.min(left, zeros.length)));
    if (!out.write(chunk)) await once(out, "drain");
  }
  out.end();
  await once(out, "finish");
  return path;
}

export async function digest(path) {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest("hex");
}

/** Makes a folder in the open one. */
export async function makeFolder(page, name) {
  await page.click("#make-folder");
  await page.fill("#new-folder-input", name);
  await page.click("#new-folder button[type=submit]");
  await rowOf(page, name).waitFor();
}

/** The row of the list that shows a name. */
export function rowOf(page, name) {
  const title = page.getByTitle(name, { exact: true });
  return page.locator("#rows .row").filter({ has: title });
}

/** The states of the transfer panel's rows, by name. */
export function transferOf(page, name) {
  const title = page.getByTitle(name, { exact: true });
  return page.locator("#transfer-rows .transfer").filter({ has: title });
}

export async function uploaded(page, name) {
  await page.locator('#transfer-rows .transfer[data-state="done"]')
    .filter({ has: page.getByTitle(name, { exact: true }) }).first().waitFor();
}

/** Drags files from outside over the page and lets go, as the operating system would. */
export async function drop(visitor, files, before = async () => {}) {
  const client = await visitor.context.newCDPSession(visitor.page);
  const data = { items: [], files, dragOperationsMask: 1 };
  const at = { x: 600, y: 300, data };
  await client.send("Input.dispatchDragEvent", { type: "dragEnter", ...at });
  await client.send("Input.dispatchDragEvent", { type: "dragOver", ...at });
  await before();
  await client.send("Input.dispatchDragEvent", { type: "drop", ...at });
  await client.detach();
}

/** What has the focus: its id, the name in it, or what it says. */
export const focused = (page) => page.evaluate(() => {
  const at = document.activeElement;
  if (at === document.body) return ""; // it is on the browser's own buttons
  return at.id || at.querySelector(".name")?.textContent || at.textContent.trim();
});

/** Waits until what is read is what is wanted. */
export async function reaches(wanted, read) {
  const until = Date.now() + STEP_MS_MAX;
  for (let last = await read(); !isDeepStrictEqual(last, wanted); last = await read()) {
    if (until < Date.now()) assert.deepEqual(last, wanted);
    await setTimeout(20);
  }
}

/** Waits until that has the focus. */
export const focusOn = (page, wanted) => reaches(wanted, () => focused(page));

/** Presses the tab key until that has the focus, which must be seen on each stop of the way. */
export async function tabTo(page, wanted, key = "Tab") {
  for (let presses = 0; presses < 60; presses += 1) {
    await page.keyboard.press(key);
    const seen = await page.evaluate(() => {
      const at = document.activeElement;
      const marked = (one) => one && window.getComputedStyle(one).outlineStyle !== "none";
      return at === document.body || marked(at) || marked(at.nextElementSibling);
    });
    assert.ok(seen, `the focus on ${await focused(page)} cannot be seen`);
    if ((await focused(page)) === wanted) return;
  }
  assert.fail(`the tab key never reached ${wanted}`);
}

/** Downloads a file of the list by its button; the path of what arrived, and the name offered. */
export async function download(page, name) {
  const [arrived] = await Promise.all([
    page.waitForEvent("download"), rowOf(page, name).locator(".get").click(),
  ]);
  return { path: await arrived.path(), name: arrived.suggestedFilename() };
}
