// upload.mjs: files go up by choice and by drop, come back byte for byte, and trouble is told.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  digest, download, drop, makeFile, makeFolder, NEW_HERE, register, rowOf, test,
  transferOf, uploaded, visit,
} from "./harness.mjs";

/** Megabytes of the large file; the acceptance run sets 300. */
export const LARGE_MB = Number(process.env.LARGE_MB ?? 20);

/** Makes the network as slow as asked; 0 is as fast as it is. */
async function throttle(visitor, bytesPerSecond) {
  const client = await visitor.context.newCDPSession(visitor.page);
  await client.send("Network.emulateNetworkConditions", {
    offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: bytesPerSecond || -1,
  });
  return client;
}

/** Uploads a photo and a large file with a Chinese name, downloads both, compares the bytes. */
export async function roundTrip(world, megabytes) {
  const visitor = await visit(world);
  visitor.allow(NEW_HERE);
  const { page } = visitor;
  await page.goto(`${visitor.url}/login.html`);
  const photo = join(world.dir, "photo.jpg");
  writeFileSync(photo, await page.screenshot({ type: "jpeg", quality: 90 }));
  const large = await makeFile(world.dir, `毕业旅行 全程录像-${megabytes}.mp4`, megabytes << 20);
  const names = ["photo.jpg", `毕业旅行 全程录像-${megabytes}.mp4`];
  await register(visitor, { nickname: "林小雨" });
  await drop(visitor, [photo, large], () => page.waitForSelector("#drop:not([hidden])"));
  await page.waitForSelector("#drop", { state: "hidden" });
  for (const name of names) await uploaded(page, name);
  for (const [index, path] of [photo, large].entries()) {
    await rowOf(page, names[index]).waitFor();
    const back = await download(page, names[index]);
    assert.equal(await digest(back.path), await digest(path), names[index]);
    assert.equal(back.name, names[index]);
  }
  await page.reload();
  for (const name of names) await rowOf(page, name).waitFor();
  await page.locator("#usage-text").filter({ hasText: / [MG]B of / }).waitFor();
  await visitor.close();
}

test("upload: a photo and a large file with a Chinese name come back unchanged", (world) =>
  roundTrip(world, LARGE_MB));

test("upload: many at once, an empty one among them", async (world) => {
  const visitor = await visit(world);
  visitor.allow(NEW_HERE);
  const { page } = visitor;
  await register(visitor);
  const paths = [await makeFile(world.dir, "empty.txt", 0)];
  for (let n = 1; n <= 11; n += 1) {
    paths.push(await makeFile(world.dir, `part-${String(n).padStart(2, "0")}.bin`, n * 10_000));
  }
  await page.setInputFiles("#picker", paths);
  await page.getByRole("heading", { name: "12 files uploaded" }).waitFor();
  await page.waitForFunction(() => document.querySelectorAll("#rows .row").length === 12);
  const back = await download(page, "part-11.bin");
  assert.equal(await digest(back.path), await digest(paths[11]));
  const nothing = await download(page, "empty.txt");
  assert.equal(await digest(nothing.path), await digest(paths[0]));
  const heard = await page.textContent("#live");
  assert.match(heard, /uploaded|Uploading/);
  await page.getByRole("button", { name: "Clear finished" }).click();
  await page.waitForSelector("#transfers", { state: "hidden" });
  await visitor.close();
});

test("upload: files that are pasted go into the folder that is open", async (world) => {
  const visitor = await visit(world);
  visitor.allow(NEW_HERE);
  const { page } = visitor;
  await register(visitor);
  await makeFolder(page, "剪贴");
  await page.getByTitle("剪贴").click();
  await page.getByRole("heading", { name: "剪贴" }).waitFor();
  /** As the browser tells of files on the clipboard. */
  const paste = (target, name) => page.evaluate(([selector, fileName]) => {
    const data = new window.DataTransfer();
    data.items.add(new window.File(["粘贴的内容"], fileName, { type: "text/plain" }));
    const event = new window.ClipboardEvent("paste", { clipboardData: data, bubbles: true });
    document.querySelector(selector).dispatchEvent(event);
  }, [target, name]);
  await paste("body", "来自剪贴板.txt");
  await uploaded(page, "来自剪贴板.txt");
  await rowOf(page, "来自剪贴板.txt").waitFor();
  const back = await download(page, "来自剪贴板.txt");
  assert.equal(readFileSync(back.path, "utf8"), "粘贴的内容");
  await paste("#search-input", "not this one.txt");
  await paste("body", "and this.txt");
  await uploaded(page, "and this.txt");
  await rowOf(page, "and this.txt").waitFor();
  // What came before it would be in the queue before it.
  assert.equal(await transferOf(page, "not this one.txt").count(), 0, "a field takes what is its");
  assert.equal(await rowOf(page, "not this one.txt").count(), 0, "a field takes what is for it");
  await visitor.close();
});

test("upload: a taken name is asked about; keep both and skip, once and for all", async (world) => {
  const visitor = await visit(world);
  visitor.allow(/^409 \/api\/upload\//, /ERR_(CONNECTION|HTTP2)/);
  const { page } = visitor;
  await register(visitor);
  const one = await makeFile(world.dir, "notes.txt", 1000);
  const two = await makeFile(world.dir, "plan.txt", 2000);
  const three = await makeFile(world.dir, "list.txt", 3000);
  await page.setInputFiles("#picker", [one, two, three]);
  await page.getByRole("heading", { name: "3 files uploaded" }).waitFor();
  await page.setInputFiles("#picker", one);
  await page.getByText("already holds an item called “notes.txt”").waitFor();
  await page.getByRole("button", { name: "Keep both" }).click();
  await page.waitForFunction(() => document.querySelectorAll("#rows .row").length === 4);
  await page.setInputFiles("#picker", [one, two, three]);
  await page.waitForSelector("#conflict[open]");
  await page.getByLabel("Do the same for the other name conflicts").check();
  await page.getByRole("button", { name: "Skip" }).click();
  const skipped = page.locator('#transfer-rows [data-state="skipped"]');
  await page.waitForFunction(() =>
    document.querySelectorAll('#transfer-rows [data-state="skipped"]').length === 3);
  assert.equal(await skipped.first().locator(".status").textContent(), "Skipped");
  await page.reload();
  await page.waitForFunction(() => document.querySelectorAll("#rows .row").length === 4);
  await visitor.close();
});

test("upload: progress, speed and time left are shown; cancel and retry work", async (world) => {
  const visitor = await visit(world);
  visitor.allow(NEW_HERE);
  const { page } = visitor;
  await register(visitor);
  const client = await throttle(visitor, 400_000);
  const path = await makeFile(world.dir, "slow.bin", 3_000_000, randomUUID()); // never seen
  await page.setInputFiles("#picker", path);
  const row = transferOf(page, "slow.bin");
  await row.getByText(/MB · .*\/s · \d+ s left/).waitFor();
  assert.ok(await row.locator("progress").evaluate((bar) => bar.value > 0 && bar.value < 1));
  await page.getByRole("button", { name: "Cancel slow.bin" }).click();
  await row.getByText("Cancelled").waitFor();
  await client.detach();
  await page.getByRole("button", { name: "Retry slow.bin" }).click();
  await uploaded(page, "slow.bin");
  const back = await download(page, "slow.bin");
  assert.equal(await digest(back.path), await digest(path));
  await visitor.close();
});

test("upload: a lost network is waited for and the file arrives by itself", async (world) => {
  const visitor = await visit(world);
  visitor.allow(/ERR_INTERNET_DISCONNECTED/, NEW_HERE);
  const { page, context } = visitor;
  await register(visitor);
  const path = await makeFile(world.dir, "patient.bin", 200_000);
  await context.setOffline(true);
  await page.setInputFiles("#picker", path);
  await transferOf(page, "patient.bin").getByText(/cannot be reached.*Trying again/).waitFor();
  await context.setOffline(false);
  await uploaded(page, "patient.bin");
  const back = await download(page, "patient.bin");
  assert.equal(await digest(back.path), await digest(path));
  await visitor.close();
});
