// weight.mjs: what the first visit of the files page costs, and the rules it is served under.
import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { register, STEP_MS_MAX, test, visit } from "./harness.mjs";
import { seed } from "./seed.mjs";

const FIRST_LOAD_BYTES_MAX = 150 * 1024;

/** The stream of live events has no end; everything else counts, and comes to one.
 * @param {import("playwright-core").Request} request */
const counts = (request) => new URL(request.url()).pathname !== "/api/events";

/** Knows what a page is asking for; what it gives waits until that is nothing. */
function underWay(page) {
  const open = new Set();
  page.on("request", (request) => counts(request) && open.add(request));
  for (const end of ["requestfinished", "requestfailed"]) {
    page.on(end, (request) => open.delete(request));
  }
  return async () => {
    const until = Date.now() + STEP_MS_MAX;
    while (open.size !== 0) {
      assert.ok(Date.now() < until, "the page goes on loading");
      await page.waitForFunction(() => true, undefined, { polling: "raf" });
    }
  };
}

test("weight: the first load of the files page is small and all our own", async (world) => {
  const before = await visit(world);
  await register(before);
  const storageState = await before.context.storageState();
  await before.close();
  const visitor = await visit(world, { storageState }); // the session, and an empty cache
  const { page, url } = visitor;
  const bodies = new Map();
  const reading = [];
  const nothingOpen = underWay(page);
  page.on("response", (response) => {
    if (!counts(response.request())) return;
    const read = response.body().then((body) => bodies.set(response.url(), body), () => {});
    reading.push(read);
  });
  await page.goto(`${url}/files.html`);
  await page.waitForSelector("#empty:not([hidden])");
  await nothingOpen();
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

/** The largest sum of layout shifts that people do not notice (web.dev, "good"). */
const SHIFT_MAX = 0.1;

/** Writes down what happens while a page loads. */
function observe() {
  window.seen = { shift: 0, long: [], paint: 0 };
  const watch = (type, each) => new window.PerformanceObserver((list) =>
    list.getEntries().forEach(each)).observe({ type, buffered: true });
  watch("layout-shift", (one) => { window.seen.shift += one.value; });
  watch("longtask", (one) => window.seen.long.push(Math.round(one.duration)));
  watch("paint", (one) => {
    if (one.name === "first-contentful-paint") window.seen.paint = Math.round(one.startTime);
  });
}

test("weight: how the pages load: first paint, shifts of the layout, long tasks", async (world) => {
  const { state, shared } = await seed(world);
  for (const [name, path, sign, session] of [
    ["log in", "/login.html", "#door", undefined],
    ["files", "/files.html", "#rows .row", state],
    ["settings", "/files.html#/settings", "#page-view .figure", state],
    ["a visitor's", `/share.html#/${shared.open}`, "#rows .row", undefined],
  ]) {
    const visitor = await visit(world, { storageState: session });
    const { page } = visitor;
    const nothingOpen = underWay(page);
    await page.addInitScript(observe);
    await page.goto(`${visitor.url}${path}`);
    await page.locator(sign).first().waitFor();
    await page.waitForFunction(() => window.seen.paint > 0);
    await nothingOpen();
    // What came last is laid out, and the observers have heard of it.
    await page.evaluate(() => new Promise((resolve) => {
      const then = window.requestAnimationFrame;
      then(() => then(() => setTimeout(resolve, 0)));
    }));
    const facts = await page.evaluate(() => ({
      ...window.seen, whole: Math.round(performance.now()),
      requests: performance.getEntriesByType("resource").length + 1,
      bytes: performance.getEntriesByType("resource")
        .reduce((sum, one) => sum + one.encodedBodySize, 0),
      elements: document.querySelectorAll("*").length,
    }));
    const { paint, whole, shift, long, requests, bytes, elements } = facts;
    console.log(`      ${name} page: first paint ${paint} ms, shown ${whole} ms, shift `
      + `${shift.toFixed(3)}, long tasks [${long.join(", ")}] ms, ${requests} requests, `
      + `${Math.round(bytes / 1024)} KB on the wire, ${elements} elements`);
    assert.ok(shift <= SHIFT_MAX, `the ${name} page shifts by ${shift}`);
    assert.ok(bytes > 0 && bytes <= FIRST_LOAD_BYTES_MAX, `${bytes} bytes on the wire`);
    await visitor.close();
  }
});
