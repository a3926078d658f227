// seed.mjs: somebody's disk as the pictures show it: folders, files of every kind, shares, a
// recycle bin, accounts. Made once per run, by the pages' own interface. Holds no test.
import { execFileSync } from "node:child_process";
import { createHmac } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  makeFile, NEW_HERE, newName, PASSWORD, register, rowOf, visit,
} from "./harness.mjs";

/** Files that are only looked at from outside. */
const PLAIN = [
  ["backup.tar.zst", 900_000], ["walk.mp4", 1_200_000],
  ["a very long file name that nobody can be expected to read to its end in one go.docx", 12_000],
  ["<img src=x onerror=alert(1)>.png", 300],
];
const TEXT = [
  "# 说明 Read me", "", "Text with `code`, a [link](https://example.org) and a list:", "", "- 一",
  "- two", "", "| a | b |", "|---|---|", "| 1 | 2 |", "", "```js", "const answer = 42; // known",
  "```", "", "> Quoted.", "",
].join("\n");
const CODE = [
  "//! The answer.", "", "/// Adds.", "fn main() {", "    let n: u32 = 42; // known",
  '    println!("{n} 个文件");', "}", "",
].join("\n");
/** A landscape: sky, sun, hills; each its own colours. */
const scene = (sky, sun, far, near) => `<style>body{margin:0}</style>
  <svg viewBox="0 0 800 600" width="800" height="600"><defs><linearGradient id="s" x2="0" y2="1">
  <stop stop-color="${sky[0]}"/><stop offset="1" stop-color="${sky[1]}"/></linearGradient></defs>
  <rect width="800" height="600" fill="url(#s)"/><circle cx="560" cy="300" r="70" fill="${sun}"/>
  <path d="M0 420 160 300 300 390 460 260 640 400 800 320V600H0Z" fill="${far}"/>
  <path d="M0 500Q200 400 400 480T800 450V600H0Z" fill="${near}"/></svg>`;
const SCENES = [
  ["西湖夜景 2026-11.jpg", scene(["#0b1d3a", "#35507c"], "#f3e9c6", "#17304f", "#0a1a2c")],
  ["海边日落.jpg", scene(["#f7b267", "#f4845f"], "#fff1d0", "#a44a5b", "#5a2a4a")],
  ["IMG_0001.jpg", scene(["#8ec9f0", "#e4f3fb"], "#ffffff", "#6fa27f", "#3b6e4d")],
];

/** A request of the page's own, as its scripts would send it. */
export const call = (page, method, path, body) =>
  page.evaluate(async ([how, where, what]) => {
    const answer = await fetch(where, {
      method: how, body: what === undefined ? undefined : JSON.stringify(what),
      headers: what === undefined ? {} : { "Content-Type": "application/json" },
    });
    if (!answer.ok) throw new Error(`${how} ${where}: ${answer.status} ${await answer.text()}`);
    const text = await answer.text();
    return text === "" ? null : JSON.parse(text);
  }, [method, path, body]);

/** What an authenticator shows (RFC 6238) for a secret in Base32, at a time in milliseconds. */
export function totp(secret, at) {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const bits = [...secret].map((one) => letters.indexOf(one).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const moment = Buffer.alloc(8);
  moment.writeBigUInt64BE(BigInt(Math.floor(at / TOTP_MS)));
  const sum = createHmac("sha1", key).update(moment).digest();
  const number = sum.readUInt32BE(sum[19] & 15) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, "0");
}
export const TOTP_MS = 30_000;

/** A second of silence. */
export function wave() {
  const head = Buffer.from(
    "RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data" +
      "\0\0\0\0",
    "latin1",
  );
  const sound = Buffer.alloc(8000, 128);
  head.writeUInt32LE(36 + sound.length, 4);
  head.writeUInt32LE(sound.length, 40);
  return Buffer.concat([head, sound]);
}

/** Files with content worth a look. */
async function pictured(world) {
  const context = await world.browser.newContext({ viewport: { width: 800, height: 600 } });
  const paper = await context.newPage();
  const files = [["说明.md", TEXT], ["main.rs", CODE], ["interview.wav", wave()]];
  for (const [name, markup] of SCENES) {
    await paper.setContent(markup);
    files.push([name, await paper.screenshot({ type: "jpeg", quality: 80 })]);
  }
  await paper.setContent("<h1>季度报告 Report</h1><p>第一页</p><p style='break-before:page'>第二页");
  files.push(["季度报告.pdf", await paper.pdf({ format: "A5" })]);
  await context.close();
  return files.map(([name, content]) => {
    const path = join(world.dir, name);
    writeFileSync(path, content);
    return path;
  });
}

/** Spreads the dates over the last months: nobody's files are all of this minute. */
function age(run, name) {
  const sql = `UPDATE node JOIN user ON user.id = node.owner
    SET node.modified_ms = node.modified_ms - POW(node.id % 13, 4) * 500000
    WHERE user.name = '${name}'`;
  execFileSync("mariadb", [
    "--no-defaults", "--protocol=socket", `--socket=${run}/mysql.sock`, "--user=root", "fastdisk",
    "-e", sql,
  ]);
}

/** Shares of every state. @returns the ids of the one with a code and of the open ones */
async function shares(page, id) {
  const day = 86_400_000;
  const share = (form) => call(page, "POST", "/api/shares", form);
  const coded = await share({
    nodes: [id("Photographs 2026"), id("季度报告.pdf")], code: "tea42", title: "给大家的照片",
    expires_ms: Date.now() + 7 * day,
  });
  const open = await share({
    nodes: [id("Photographs 2026"), id("西湖夜景 2026-11.jpg"), id("main.rs"), id("说明.md")],
    public: true, title: "西湖 2026",
  });
  await share({ nodes: [id("季度报告.pdf")], public: true, download_limit: 50 });
  const stopped = await share({ nodes: [id("backup.tar.zst")] });
  await call(page, "DELETE", `/api/shares/${stopped.id}`);
  return { coded: coded.id, open: open.id, stopped: stopped.id };
}

/** The disk of one user, and everything the views of it show. */
async function disk(world) {
  const visitor = await visit(world);
  visitor.allow(NEW_HERE);
  const { page } = visitor;
  const name = await register(visitor, { nickname: "林小雨" });
  const folder = (title, parent) => call(page, "POST", "/api/disk", { name: title, parent });
  const photos = await folder("Photographs 2026");
  await folder("合同与发票");
  await folder("西湖 West Lake", photos.id);
  await page.reload();
  const paths = await pictured(world);
  for (const [title, bytes] of PLAIN) paths.push(await makeFile(world.dir, title, bytes));
  for (const old of ["旧的草稿.txt", "setup.exe"]) paths.push(await makeFile(world.dir, old, 4_000));
  await page.setInputFiles("#picker", paths);
  await page.getByRole("heading", { name: `${paths.length} files uploaded` }).waitFor();
  const { nodes } = await call(page, "GET", "/api/disk/root?limit=200");
  const id = (title) => nodes.find((node) => node.name === title).id;
  await call(page, "POST", "/api/disk/copy",
    { ids: SCENES.map(([title]) => id(title)), parent: photos.id, conflict: "rename" });
  for (const one of ["Photographs 2026", "main.rs"]) {
    await call(page, "PUT", `/api/mydisk/favourites/${id(one)}`);
  }
  await call(page, "POST", "/api/disk/trash", { ids: [id("旧的草稿.txt"), id("setup.exe")] });
  await call(page, "POST", "/api/tokens",
    { name: "back-up of the laptop", scopes: ["read", "write"], expires_days: 365,
      password: PASSWORD });
  const shared = await shares(page, id);
  if (world.run) age(world.run, name);
  await page.reload();
  await rowOf(page, "main.rs").waitFor();
  const state = await visitor.context.storageState();
  await visitor.close();
  return { name, state, paths, shared };
}

/** An account whose log-in asks for a code. */
async function guarded(world) {
  const visitor = await visit(world);
  const name = await register(visitor);
  const { secret } = await call(visitor.page, "POST", "/api/totp", { password: PASSWORD });
  await call(visitor.page, "POST", "/api/totp/confirm", { code: totp(secret, Date.now()) });
  await visitor.close();
  return name;
}

/** The administrator's session, and an account or two to see. */
async function administrator(world) {
  const visitor = await visit(world);
  const { page, url } = visitor;
  await page.goto(`${url}/login.html`);
  await page.fill("#name", world.admin.name);
  await page.fill("#password", world.admin.password);
  await page.click("button[type=submit]");
  await page.waitForURL(/files/);
  await call(page, "POST", "/api/admin/users",
    { name: newName(), nickname: "王大明", quota_bytes: 2 ** 33 });
  const state = await visitor.context.storageState();
  await visitor.close();
  return state;
}

let made = null;

/** Everything above, once per run. */
export function seed(world) {
  made ??= (async () => ({
    ...(await disk(world)),
    guarded: await guarded(world),
    admin: world.admin ? await administrator(world) : null,
  }))();
  return made;
}
