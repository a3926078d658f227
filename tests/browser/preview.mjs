// preview.mjs: files are shown without being downloaded; and hostile ones stay what they are. The
// trap in the first test shows that a page that takes content for markup would be noticed.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { load, makeFile, NEW_HERE, register, rowOf, test, visit } from "./harness.mjs";
import { wave } from "./seed.mjs";

const HACK = "window.hacked=1";
const MARKUP = `<img src=x onerror=${HACK}>`;
const NAMESPACE = "http://www.w3.org/2000/svg";
const SVG = `<svg xmlns="${NAMESPACE}" onload="${HACK}"><script>${HACK}</script></svg>`;
const HTML = `<!doctype html><body onload="${HACK}"><script>${HACK}</script>${MARKUP}`;
const MARKDOWN = [
  "# 标题 Title",
  "",
  `Text ${MARKUP} and <script>${HACK}</script> and <b>bold</b>.`,
  "",
  `[js](javascript:${HACK}) [data](data:text/html,<script>${HACK}</script>)`,
  "[ok](https://example.org/)",
  "",
  "![x](https://elsewhere.invalid/x.png)",
  "",
  `<iframe srcdoc="<script>${HACK}</script>"></iframe>`,
  "",
  "- one",
  "- [x] two",
  "",
  "| a | b |",
  "|---|---|",
  `| ${MARKUP} | 2 |`,
  "",
  "```js",
  "const hacked = `${1}`; // </code><script>",
  "```",
  "",
  "> quoted & <i>&amp;</i>",
  "",
].join("\n");

/** The beginning of an MP3 with text tags (ID3v2.3, UTF-8 is beyond it: UTF-16). */
function id3(tags) {
  const frames = Object.entries(tags).map(([id, text]) => {
    const body = Buffer.concat([Buffer.from([1, 0xff, 0xfe]), Buffer.from(text, "utf16le")]);
    const head = Buffer.alloc(10);
    head.write(id);
    head.writeUInt32BE(body.length, 4);
    return Buffer.concat([head, body]);
  });
  const body = Buffer.concat(frames);
  const size = [21, 14, 7, 0].map((shift) => (body.length >> shift) & 0x7f);
  return Buffer.concat([
    Buffer.from("ID3\x03\x00\x00"),
    Buffer.from(size),
    body,
    Buffer.alloc(400),
  ]);
}

async function upload(world, files) {
  const visitor = await visit(world);
  visitor.allow(NEW_HERE);
  const { page } = visitor;
  await register(visitor);
  const paths = files.map(([name, content]) => {
    const path = join(world.dir, name);
    writeFileSync(path, content);
    return path;
  });
  await page.setInputFiles("#picker", paths);
  for (const [name] of files) await rowOf(page, name).waitFor();
  return { visitor, page };
}

async function open(page, name) {
  await rowOf(page, name).locator(".name").click();
  await page.waitForSelector("#preview");
}

async function shut(page) {
  await page.keyboard.press("Escape");
  await page.waitForSelector("#preview", { state: "detached" });
}

test("preview: the trap notices content that a page takes for markup", async (world) => {
  for (const content of [SVG, HTML, MARKDOWN]) {
    const context = await world.browser.newContext();
    const page = await context.newPage();
    await page.setContent(content);
    await page.waitForFunction(() => window.hacked === 1);
    await context.close();
  }
});

test("preview: hostile SVG, HTML, Markdown and tags are shown and never run", async (world) => {
  const tags = { TIT2: MARKUP, TPE1: `"><script>${HACK}</script>`, TALB: "专辑 &amp; <b>" };
  const { visitor, page } = await upload(world, [
    ["drawing.svg", SVG],
    ["page.html", HTML],
    ["readme.md", MARKDOWN],
    ["song.mp3", id3(tags)],
    ["lies.png", HTML],
  ]);
  await open(page, "drawing.svg");
  await page.locator("#preview pre", { hasText: "<script>window.hacked=1</script>" }).waitFor();
  await shut(page);
  await open(page, "page.html");
  await page.locator("#preview pre", { hasText: "<!doctype html>" }).waitFor();
  await shut(page);
  await open(page, "readme.md");
  const article = page.locator("#preview .markdown");
  await article.getByRole("heading", { name: "标题 Title" }).waitFor();
  const text = await article.textContent();
  for (const one of [MARKUP, `<script>${HACK}</script>`, "</code><script>"]) {
    assert.ok(text.includes(one), `${one} is shown as it was written`);
  }
  assert.equal(await article.locator("img, script, iframe, b, i").count(), 0);
  const links = await article.locator("a").evaluateAll((all) => all.map((one) => one.href));
  assert.deepEqual(links, ["https://example.org/"]);
  await shut(page);
  await open(page, "song.mp3");
  await page.locator("#tags dd").first().waitFor();
  assert.deepEqual(await page.locator("#tags dd").allTextContents(), [
    tags.TIT2,
    tags.TPE1,
    tags.TALB,
  ]);
  await shut(page);
  await open(page, "lies.png");
  await page.locator("#preview pre, #preview .no-preview").first().waitFor();
  await shut(page);
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  await visitor.close();
});

test("preview: the server never lets stored markup run, even if it is opened", async (world) => {
  const { visitor, page } = await upload(world, [
    ["page.html", HTML],
    ["drawing.svg", SVG],
  ]);
  for (const name of ["page.html", "drawing.svg"]) {
    const href = await rowOf(page, name).locator(".name").getAttribute("href");
    const answer = await page.request.get(`${visitor.url}${href}?inline=1`);
    const headers = answer.headers();
    assert.match(headers["content-security-policy"], /sandbox; default-src 'none'/, name);
    assert.equal(headers["x-content-type-options"], "nosniff", name);
    const inline = /^inline/.test(headers["content-disposition"] ?? "");
    assert.ok(!inline || /^text\/plain/.test(headers["content-type"]), name);
  }
  await visitor.close();
});

test("preview: pictures zoom and lead on; code, sound and Chinese PDF are shown", async (world) => {
  const paper = await (await world.browser.newContext()).newPage();
  await paper.setContent(
    "<h1>季度报告 Report</h1><p>第一页</p><p style='break-before:page'>第二页",
  );
  const pdf = await paper.pdf({ format: "A5" });
  const picture = await paper.screenshot();
  await paper.context().close();
  const { visitor, page } = await upload(world, [
    ["1 图.png", picture],
    ["2 code.rs", "fn main() {\n    let n = 42; // answer\n}\n"],
    ["3 报告.pdf", pdf],
    ["4 sound.wav", wave()],
    ["5 旧.txt", Buffer.from([0xc4, 0xe3, 0xba, 0xc3])],
  ]);
  await page.waitForFunction(() => {
    const small = [...document.querySelectorAll("#rows img.thumb.shown")];
    return small.some((img) => img.naturalWidth > 0 && img.naturalWidth <= 1280);
  });
  await open(page, "1 图.png");
  await page.locator("#preview img").waitFor();
  await page.locator("#preview img").click();
  await page.waitForSelector("#preview .zoom.near");
  await page.locator("#preview .zoom").press("0");
  await page.waitForSelector("#preview .zoom:not(.near)");
  const step = async (name) => {
    await page.keyboard.press("ArrowRight");
    await page.locator("#preview-title", { hasText: name }).waitFor();
  };
  await step("2 code.rs");
  await page.locator("#preview .hl-keyword", { hasText: "fn" }).waitFor();
  await page.locator("#preview .hl-comment", { hasText: "// answer" }).waitFor();
  await step("3 报告.pdf");
  await page.locator("#preview .leaf canvas").first().waitFor();
  await page.locator("#preview .leaf", { hasText: "季度报告" }).waitFor();
  assert.equal(await page.locator("#preview .leaf").count(), 2);
  const drawn = () =>
    page
      .locator("#preview canvas")
      .first()
      .evaluate((canvas) =>
        canvas
          .getContext("2d")
          .getImageData(0, 0, canvas.width, canvas.height)
          .data.some((byte) => byte !== 255 && byte !== 0),
      );
  assert.ok(await drawn(), "something is on the paper");
  await step("4 sound.wav");
  await page.waitForFunction(() => document.querySelector("#preview audio")?.duration >= 0.9);
  await step("5 旧.txt");
  await page.locator("#preview pre", { hasText: "你好" }).waitFor();
  await page.getByRole("button", { name: "Previous file" }).click();
  await page.locator("#preview-title", { hasText: "4 sound.wav" }).waitFor();
  await shut(page);
  await visitor.close();
});

test("preview: a picture that cannot be read keeps its sign, and says so", async (world) => {
  const signature = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");
  const visitor = await visit(world);
  visitor.allow(NEW_HERE, /^404 \/api\/thumb\/\d+\?size=small$/);
  const { page } = visitor;
  await register(visitor);
  const path = join(world.dir, "坏.png");
  writeFileSync(path, Buffer.concat([signature, Buffer.alloc(500, "x")]));
  const [none] = await Promise.all([
    page.waitForResponse((answer) => answer.url().includes("/api/thumb/")),
    page.setInputFiles("#picker", path),
  ]);
  assert.equal(none.status(), 404);
  await rowOf(page, "坏.png").locator("svg.kind").waitFor();
  assert.equal(await page.locator("#rows .thumb.shown").count(), 0);
  await open(page, "坏.png");
  await page.locator("#preview .no-preview").waitFor();
  await shut(page);
  await visitor.close();
});

/** A film of moving noise, as the browser itself records one: some seconds, a megabyte or more. */
async function film(world) {
  const context = await world.browser.newContext();
  const page = await context.newPage();
  const base64 = await page.evaluate(async () => {
    const canvas = document.createElement("canvas");
    canvas.width = 320;
    canvas.height = 240;
    const paint = canvas.getContext("2d");
    const timer = window.setInterval(() => {
      const frame = paint.createImageData(canvas.width, canvas.height);
      for (let at = 0; at < frame.data.length; at += 1) frame.data[at] = Math.random() * 256;
      paint.putImageData(frame, 0, 0);
    }, 40);
    const settings = { mimeType: "video/webm;codecs=vp8", videoBitsPerSecond: 8e6 };
    const recorder = new window.MediaRecorder(canvas.captureStream(25), settings);
    const parts = [];
    recorder.ondataavailable = (event) => parts.push(event.data);
    recorder.start(200);
    const size = () => parts.reduce((sum, part) => sum + part.size, 0);
    while (size() < 1 << 20) await new Promise((done) => setTimeout(done, 50));
    const ended = new Promise((done) => (recorder.onstop = done));
    recorder.stop();
    await ended;
    window.clearInterval(timer);
    const bytes = new Uint8Array(await new window.Blob(parts).arrayBuffer());
    let text = "";
    for (const byte of bytes) text += String.fromCharCode(byte);
    return window.btoa(text);
  });
  await context.close();
  return Buffer.from(base64, "base64");
}

test("preview: a film plays while it arrives, in ranges", async (world) => {
  const { visitor, page } = await upload(world, [["电影.webm", await film(world)]]);
  const answers = [];
  page.on("response", (response) => {
    if (response.request().resourceType() === "media") answers.push(response);
  });
  await open(page, "电影.webm");
  await page.waitForFunction(() => document.querySelector("#preview video")?.videoWidth === 320);
  await page.locator("#preview video").evaluate((video) => {
    video.muted = true;
    return video.play();
  });
  await page.waitForFunction(() => document.querySelector("#preview video").currentTime > 0.3);
  assert.ok(answers.length > 0, "the player has asked for it");
  for (const answer of answers) {
    assert.match(answer.request().headers().range, /^bytes=\d+-/u);
    assert.equal(answer.status(), 206);
    assert.match(answer.headers()["content-range"], /^bytes \d+-\d+\/\d+$/u);
  }
  await shut(page);
  await visitor.close();
});

test("preview: a long text is cut, and what cannot be shown can be downloaded", async (world) => {
  const { visitor, page } = await upload(world, [
    ["long.log", `${"字".repeat(99)}\n`.repeat(6000)],
  ]);
  const path = await makeFile(world.dir, "thing.bin", 3000);
  await page.setInputFiles("#picker", path);
  await rowOf(page, "thing.bin").waitFor();
  await open(page, "long.log");
  await page.locator("#preview .cut", { hasText: "1 MB of 1.7 MB" }).waitFor();
  await shut(page);
  await open(page, "thing.bin");
  const arriving = page.waitForEvent("download");
  await page.locator("#preview .no-preview a").click();
  assert.equal((await arriving).suggestedFilename(), "thing.bin");
  await shut(page);
  await visitor.close();
});

test("preview: the reader of tags takes any bytes", async () => {
  const [{ tagsOf }] = await load("preview/id3.js");
  assert.deepEqual(tagsOf(id3({ TIT2: "歌", TYER: "2026" })), { title: "歌", year: "2026" });
  const whole = id3({ TIT2: "a long title", TPE1: "someone" });
  for (let length = 0; length <= whole.length; length += 1) tagsOf(whole.subarray(0, length));
  for (let at = 0; at < 60; at += 1) {
    for (const value of [0, 1, 0x7f, 0xff]) {
      const bytes = Buffer.from(whole);
      bytes[at] = value;
      for (const text of Object.values(tagsOf(bytes))) assert.ok(text.length <= 200);
    }
  }
  assert.deepEqual(tagsOf(Buffer.from("RIFF")), {});
});
