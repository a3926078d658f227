// resume.mjs: uploads that last: 1 GB ($RESUME_MB) paused, the network cut, the tab closed, and
// resumed to the same bytes; content that is known is stored at once; folders keep their shape.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import {
  digest,
  download,
  makeFile,
  NEW_HERE,
  register,
  rowOf,
  test,
  transferOf,
  uploaded,
  visit,
} from "./harness.mjs";
import { openWire } from "./wire.mjs";

const RESUME_MB = Number(process.env.RESUME_MB ?? 1024);
/** Hashing and sending that much on a slow machine. */
const LONG_MS = 240_000;

/** Content that no run had before: what is known would not be sent. */
const fresh = () => randomUUID();
const stateOf = (page, name) => transferOf(page, name).getAttribute("data-state");
const toState = (page, name, state) =>
  page.waitForFunction(
    ([title, wanted]) =>
      [...document.querySelectorAll("#transfer-rows .transfer")].some(
        (row) => row.querySelector(".name").title === title && row.dataset.state === wanted,
      ),
    [name, state],
    { timeout: LONG_MS },
  );

/** Waits until so much of the file has left. */
const sentMore = (page, name, part) =>
  page.waitForFunction(
    ([title, least]) =>
      [...document.querySelectorAll("#transfer-rows .transfer")].some(
        (row) =>
          row.querySelector(".name").title === title &&
          row.dataset.state === "sending" &&
          row.querySelector("progress").value > least,
      ),
    [name, part],
    { timeout: LONG_MS },
  );

test(`resume: ${RESUME_MB} MB paused, cut off, the tab closed: the same bytes`, async (world) => {
  const wire = await openWire(world.url);
  wire.slow(RESUME_MB * 120_000);
  const visitor = await visit({ ...world, url: wire.url });
  visitor.allow(/ERR_/, /^423 \/api\/uploads\/\w+$/, NEW_HERE);
  let { page } = visitor;
  await register(visitor);
  const name = "毕业旅行 全程录像.mp4";
  const path = await makeFile(world.dir, name, RESUME_MB * 1024 * 1024, fresh());
  await page.setInputFiles("#picker", path);
  await sentMore(page, name, 0.05);
  await page.getByRole("button", { name: `Pause ${name}` }).click();
  await toState(page, name, "paused");
  await page.getByRole("button", { name: `Resume ${name}` }).click();
  await sentMore(page, name, 0.12);
  await wire.cut();
  await toState(page, name, "waiting");
  await wire.mend();
  await sentMore(page, name, 0.2);

  await page.close();
  page = await visitor.open();
  await page.goto(`${visitor.url}/files.html`);
  await page.getByRole("heading", { name: "1 upload to finish" }).waitFor();
  assert.equal(await stateOf(page, name), "lost");
  const first = page.waitForRequest((request) => request.method() === "PATCH", {
    timeout: LONG_MS,
  });
  const choosing = page.waitForEvent("filechooser");
  await page.getByRole("button", { name: `Choose ${name} again` }).click();
  await (await choosing).setFiles(path);
  const offset = Number((await first).headers()["upload-offset"]);
  wire.slow(Infinity);
  assert.ok(offset > 0.1 * RESUME_MB * 1024 * 1024, `it went on at ${offset}`);
  await toState(page, name, "done");
  const back = await download(page, name);
  assert.equal(await digest(back.path), await digest(path));
  await visitor.close();
  await wire.close();
});

test("resume: another file of the same name is not the one that was lost", async (world) => {
  const wire = await openWire(world.url);
  wire.slow(2_000_000);
  const visitor = await visit({ ...world, url: wire.url });
  visitor.allow(/ERR_/, /^423 \/api\/uploads\/\w+$/, NEW_HERE);
  await register(visitor);
  const name = "twin.bin";
  const path = await makeFile(world.dir, name, 30_000_000, fresh());
  mkdirSync(join(world.dir, "other"), { recursive: true });
  const other = await makeFile(join(world.dir, "other"), name, 30_000_001, "another");
  await visitor.page.setInputFiles("#picker", path);
  await sentMore(visitor.page, name, 0.05);
  await visitor.page.close();
  const page = await visitor.open();
  await page.goto(`${visitor.url}/files.html`);
  const choosing = page.waitForEvent("filechooser");
  await page.getByRole("button", { name: `Choose ${name} again` }).click();
  await (await choosing).setFiles(other);
  await page.getByText("not the same file").waitFor();
  assert.equal(await stateOf(page, name), "lost");
  await page.getByRole("button", { name: `Cancel ${name}` }).click();
  await toState(page, name, "cancelled");
  await page.reload();
  await page.waitForSelector("#empty:not([hidden])");
  assert.equal(await page.locator("#transfers:not([hidden])").count(), 0, "it is forgotten");
  await visitor.close();
  await wire.close();
});

test("resume: known content is stored at once, and says so", async (world) => {
  const visitor = await visit(world);
  visitor.allow(NEW_HERE);
  const { page } = visitor;
  await register(visitor);
  const path = await makeFile(world.dir, "第一份.bin", 12_000_000);
  await page.setInputFiles("#picker", path);
  await uploaded(page, "第一份.bin");
  const twin = join(world.dir, "第二份.bin");
  renameSync(path, twin);
  const bodies = [];
  page.on("request", (request) => {
    if (/\/api\/upload/.test(request.url())) bodies.push(request.url());
  });
  await page.setInputFiles("#picker", twin);
  await uploaded(page, "第二份.bin");
  assert.equal(await transferOf(page, "第二份.bin").locator(".badge").textContent(), "Instant");
  assert.deepEqual(bodies, [], "no byte was sent");
  const back = await download(page, "第二份.bin");
  assert.equal(await digest(back.path), await digest(twin));
  await visitor.close();
});

test("resume: a folder keeps its shape; its files land where they were", async (world) => {
  const visitor = await visit(world);
  const { page } = visitor;
  await register(visitor);
  const root = join(world.dir, "项目");
  for (const name of ["readme.txt", "图/封面.jpg", "图/深/底.jpg"]) {
    await makeFile(root, name, 2_000, `${name} in a folder`);
  }
  await page.setInputFiles("#folder-picker", root);
  await page.getByRole("heading", { name: "3 files uploaded" }).waitFor();
  await page.getByTitle("项目", { exact: true }).click();
  await rowOf(page, "readme.txt").waitFor();
  await page.locator("#rows").getByTitle("图", { exact: true }).click();
  await rowOf(page, "封面.jpg").waitFor();
  await page.locator("#rows").getByTitle("深", { exact: true }).click();
  await rowOf(page, "底.jpg").waitFor();
  await visitor.close();
});
