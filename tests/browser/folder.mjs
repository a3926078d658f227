// folder.mjs: making folders, walking through them, sorting, long lists, the keyboard.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import {
  drop, focusOn, makeFile, makeFolder, register, rowOf, tabTo, test, uploaded, visit,
} from "./harness.mjs";

const names = (page) => page.locator("#rows .row .name").allTextContents();

test("folder: make, enter, upload into it, and go back by the path", async (world) => {
  const visitor = await visit(world);
  visitor.allow(/^409 \/api\/disk$/);
  const { page } = visitor;
  await register(visitor);
  await makeFolder(page, "照片");
  await page.click("#make-folder");
  await page.fill("#new-folder-input", "照片");
  await page.click("#new-folder button[type=submit]");
  await page.locator("#new-folder-input-error").filter({ hasText: "already taken" }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByTitle("照片").click();
  await page.getByRole("heading", { name: "照片" }).waitFor();
  await makeFolder(page, "2026");
  await page.getByTitle("2026", { exact: true }).click();
  await page.getByRole("heading", { name: "2026" }).waitFor();
  await drop(visitor, [await makeFile(world.dir, "inside.txt", 100)]);
  await uploaded(page, "inside.txt");
  await rowOf(page, "inside.txt").waitFor();
  await page.reload();
  await rowOf(page, "inside.txt").waitFor();
  const crumbs = page.locator("#crumbs a");
  await crumbs.nth(2).waitFor();
  assert.deepEqual(await crumbs.allTextContents(), ["All files", "照片", "2026"]);
  await crumbs.nth(1).click();
  await rowOf(page, "2026").waitFor();
  assert.equal(await rowOf(page, "inside.txt").count(), 0);
  await page.goBack();
  await rowOf(page, "inside.txt").waitFor();
  await visitor.close();
});

test("folder: what is dropped comes with its empty folders, beside the old", async (world) => {
  const visitor = await visit(world);
  visitor.allow(/^409 \/api\/disk$/);
  const { page } = visitor;
  await register(visitor);
  await makeFolder(page, "项目");
  const root = join(world.dir, "drop", "项目");
  await makeFile(join(root, "有内容"), "里面.txt", 100);
  mkdirSync(join(root, "空的", "更深"), { recursive: true });
  await drop(visitor, [root]);
  await uploaded(page, "项目/有内容/里面.txt");
  await page.getByTitle("项目", { exact: true }).first().click();
  await rowOf(page, "有内容").waitFor();
  await page.locator("#rows").getByTitle("空的").click();
  await page.locator("#rows").getByTitle("更深").click();
  await page.waitForSelector("#empty:not([hidden])");
  assert.deepEqual(
    await page.locator("#crumbs a").allTextContents(), ["All files", "项目", "空的", "更深"]);
  await visitor.close();
});

test("folder: empty folders are made once each, whatever one of them meets", async (world) => {
  const visitor = await visit(world);
  visitor.allow(/^409 \/api\/disk$/);
  const { page } = visitor;
  await register(visitor);
  await page.setInputFiles("#picker", await makeFile(world.dir, "taken", 100));
  await rowOf(page, "taken").waitFor();
  const root = join(world.dir, "ways");
  for (const one of ["一", "二", "三"]) {
    mkdirSync(join(root, "taken", one), { recursive: true }); // where a file has the name
    mkdirSync(join(root, "wide", one), { recursive: true });
  }
  const asked = [];
  page.on("request", (request) => {
    if (request.method() !== "POST" || !request.url().endsWith("/api/disk")) return;
    asked.push(request.postDataJSON().name);
  });
  await drop(visitor, [join(root, "taken"), join(root, "wide")]);
  await page.locator(".note").filter({ hasText: "already taken" }).waitFor();
  assert.deepEqual(asked.sort(), ["taken", "wide", "一", "三", "二"].sort());
  await page.locator("#rows").getByTitle("wide").click();
  for (const one of ["一", "二", "三"]) await rowOf(page, one).waitFor();
  await visitor.close();
});

test("folder: sorting by each column, both ways, folders first", async (world) => {
  const visitor = await visit(world);
  const { page } = visitor;
  await register(visitor);
  await makeFolder(page, "zebra");
  for (const [name, bytes] of [["b.txt", 300], ["a.txt", 200], ["c.txt", 100]]) {
    await page.setInputFiles("#picker", await makeFile(world.dir, name, bytes));
    await rowOf(page, name).waitFor();
  }
  assert.deepEqual(await names(page), ["zebra", "a.txt", "b.txt", "c.txt"], "as they arrived");
  for (const [column, wanted] of [
    ["Name", "c b a"], ["Size", "c a b"], ["Size", "b a c"], ["Modified", "b a c"],
    ["Modified", "c a b"], ["Name", "a b c"],
  ]) {
    await page.getByRole("columnheader", { name: column }).getByRole("button").click();
    const list = ["zebra", ...wanted.split(" ").map((letter) => `${letter}.txt`)];
    await page.waitForFunction((expected) => {
      const shown = [...document.querySelectorAll("#rows .row .name")];
      return shown.map((one) => one.textContent).join() === expected;
    }, list.join());
  }
  await visitor.close();
});

/** Answers the list of a folder with as many items as asked for, page by page. */
async function pretend(page, count) {
  await page.route("**/api/disk/root?*", (route) => {
    const query = new URL(route.request().url()).searchParams;
    const from = Number(query.get("cursor") ?? 0);
    const limit = Number(query.get("limit"));
    const nodes = [];
    for (let n = from; n < Math.min(count, from + limit); n += 1) {
      nodes.push({
        id: String(n + 1), parent: null, kind: "file", size: n, media_type: null, category: null,
        name: `row ${String(n).padStart(6, "0")}.txt`, created_ms: 0, modified_ms: 0,
      });
    }
    const next = from + limit < count ? String(from + limit) : null;
    return route.fulfill({ json: { folder: null, path: [], nodes, next } });
  });
}

test("folder: a long list loads as it is scrolled and draws only what is seen", async (world) => {
  const visitor = await visit(world);
  const { page } = visitor;
  await register(visitor);
  await pretend(page, 1000);
  await page.reload();
  await rowOf(page, "row 000000.txt").waitFor();
  for (let tries = 0; tries < 40; tries += 1) {
    await page.evaluate(() => {
      const scroller = document.querySelector("#scroller");
      scroller.scrollTop = scroller.scrollHeight;
    });
    if (await rowOf(page, "row 000999.txt").count()) break;
    await page.waitForTimeout(50); // between two turns of the wheel
  }
  await rowOf(page, "row 000999.txt").waitFor();
  const drawn = await page.locator("#rows .row").count();
  assert.ok(drawn < 80, `${drawn} rows are in the document`);
  assert.equal(await page.textContent("#count"), "1,000 items");
  await visitor.close();
});

test("folder: the keyboard alone makes a folder, walks the list and opens it", async (world) => {
  const visitor = await visit(world);
  const { page } = visitor;
  await register(visitor);
  await page.keyboard.press("Tab");
  await focusOn(page, "skip");
  for (const name of ["alpha", "beta", "gamma"]) {
    await tabTo(page, "make-folder");
    await page.keyboard.press("Enter");
    await page.keyboard.type(name);
    await page.keyboard.press("Enter");
    await rowOf(page, name).waitFor();
  }
  await tabTo(page, "alpha");
  await page.keyboard.press("End");
  await focusOn(page, "gamma");
  await page.keyboard.press("ArrowUp");
  await focusOn(page, "beta");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "beta" }).waitFor();
  await visitor.close();
});
