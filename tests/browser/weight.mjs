// weight.mjs: what the first visit of the files page costs, and the rules it is served under.
import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { register, test, visit } from "./harness.mjs";

const FIRST_LOAD_BYTES_MAX = 150 * 1024;

test("weight: the first load of the files page is small and all our own", async (world) => {
  const before = await visit(world);
  await register(before);
  const storageState = await before.context.storageState();
  await before.close();
  const visitor = await visit(world, { storageState }); // the session, and an empty cache
  const { page, url } = visitor;
  const bodies = new Map();
  const reading = [];
  page.on("response", (response) => {
    const read = response.body().then((body) => bodies.set(response.url(), body), () => {});
    reading.push(read);
  });
  await page.goto(`${url}/files.html`);
  await page.waitForSelector("#empty:not([hidden])");
  await page.waitForLoadState("networkidle");
  await Promise.all(reading);
  let bytes = 0;
  for (const body of bodies.values()) bytes += body.length === 0 ? 0 : gzipSync(body).length;
  console.log(`      the files page: ${bodies.size} answers, ${bytes} bytes compressed`);
  assert.ok(bodies.size > 10 && bytes < FIRST_LOAD_BYTES_MAX, `${bytes} bytes`);
  await visitor.close();
});

test("weight: pages come under a policy without foreign or inline anything", async (world) => {
  for (const path of ["/", "/login.html", "/register.html", "/files.html"]) {
    const response = await fetch(`${world.url}${path}`);
    assert.equal(response.status, 200, path);
    const policy = response.headers.get("content-security-policy") ?? "";
    assert.match(policy, /default-src 'none'/, path);
    assert.match(policy, /script-src 'self'/, path);
    assert.doesNotMatch(policy, /unsafe|https?:|\*/, path);
  }
});
