// accept.mjs: the acceptance of the whole chain in a real browser: a new user uploads a photo and a
// file of 300 MB ($LARGE_MB) with a Chinese name, and both come back byte for byte.
//
//   node accept.mjs [URL]     the site at URL, by default a stack of our own
if (process.argv[2]) process.env.URL = process.argv[2];
process.env.STEP_MS_MAX ??= "600000";
const megabytes = Number(process.env.LARGE_MB ?? 300);
const { openBrowser, openDir, openSite } = await import("./harness.mjs");
const { roundTrip } = await import("./upload.mjs");

const site = await openSite();
const browser = await openBrowser();
const { dir, close } = openDir();
const start = performance.now();
let failed = 0;
try {
  await roundTrip({ url: site.url, browser, dir }, megabytes);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`a photo and ${megabytes} MB up and down, identical, in ${seconds} s: ${site.url}`);
} catch (error) {
  failed = 1;
  console.log(error.stack);
}
await browser.close();
await site.close(failed > 0);
close();
console.log(`${1 - failed} passed, ${failed} failed, 0 skipped`);
process.exitCode = failed;
