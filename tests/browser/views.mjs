// views.mjs: a walk through every view of the pages, stopping at each for a look. What a look is,
// the caller says: `walk.look(name)`. Holds no test.
import { go, makeFile, PASSWORD, ready, rowOf } from "./harness.mjs";

/** @typedef {{page: import("playwright-core").Page, url: string, seeded: any, tag: string,
 *   world: any, look: (view: string, tall?: boolean) => Promise<void>}} Walk */

const shut = async (page, selector) => {
  await page.keyboard.press("Escape");
  await page.waitForSelector(selector, { state: "detached" });
};
const submit = (page) => page.click("form[id=door] button[type=submit]");

/** Log in and register, with what can go wrong there. */
export async function door({ page, url, look, seeded }) {
  await page.goto(`${url}/login.html`);
  await ready(page);
  await look("login");
  await page.fill("#name", "nobody");
  await page.fill("#password", "not the password");
  await submit(page);
  await page.waitForSelector(".form-error:not(:empty)");
  await look("login-error");
  await page.fill("#name", seeded.guarded);
  await page.fill("#password", PASSWORD);
  await submit(page);
  await page.waitForSelector("#code-field:not([hidden])");
  await look("login-code");
  await page.goto(`${url}/register.html`);
  await ready(page);
  await look("register");
  await page.fill("#name", "no/slash");
  await page.fill("#password", PASSWORD);
  await submit(page);
  await page.waitForSelector("#name-error:not(:empty)");
  await look("register-error");
}

/** The folders, as a list and as tiles, and what lies over them. */
export async function folders({ page, url, look }) {
  await page.goto(`${url}/files.html`);
  await rowOf(page, "main.rs").waitFor();
  await page.locator("#usage-text:not(:empty)").waitFor({ state: "attached" });
  await look("list");
  if (await page.locator("#open-side").isVisible()) {
    await page.click("#open-side");
    await page.locator("#side").waitFor();
    await look("bar-of-places");
    await page.keyboard.press("Escape");
    await page.locator("#side").waitFor({ state: "hidden" });
  }
  await rowOf(page, "main.rs").locator(".more").click();
  await page.waitForSelector("#menu:popover-open");
  await look("actions");
  await page.keyboard.press("Escape");
  await look("chosen");
  await rowOf(page, "main.rs").focus();
  await page.keyboard.press("Shift+M");
  await page.waitForSelector("#picker-dialog .picker button");
  await look("picker");
  await shut(page, "#picker-dialog");
  await rowOf(page, "main.rs").focus();
  await page.keyboard.press("F2");
  await page.waitForSelector(".rename");
  await look("rename");
  await page.keyboard.press("Escape");
  await page.keyboard.press("Escape");
  await page.keyboard.press("Shift+V");
  await page.waitForSelector('#grid[data-view="tiles"]');
  await look("tiles");
  await page.keyboard.press("Shift+V");
  await page.keyboard.press("?");
  await page.waitForSelector("#help-sheet");
  await look("help");
  await shut(page, "#help-sheet");
  await page.click("#account");
  await page.waitForSelector("#account-menu:popover-open");
  await look("menu");
  await page.keyboard.press("Escape");
  await page.getByTitle("Photographs 2026").click();
  await rowOf(page, "西湖 West Lake").waitFor();
  await look("folder");
  await page.getByTitle("西湖 West Lake").click();
  await page.waitForSelector("#empty:not([hidden])");
  await look("empty");
  await go(page, "#/");
  await rowOf(page, "main.rs").waitFor();
}

/** What is made and asked in a folder. */
export async function questions({ page, look, seeded }) {
  await page.setInputFiles("#picker", seeded.paths.find((path) => path.endsWith("main.rs")));
  await page.waitForSelector("#conflict[open]");
  await look("conflict");
  await page.click("#conflict [value=skip]");
  await page.click("#transfer-clear");
  await page.click("#make-folder");
  await page.fill("#new-folder-input", "合同与发票");
  await page.click("#new-folder button[type=submit]");
  await page.waitForSelector("#new-folder-input-error:not(:empty)");
  await look("new-folder");
  await shut(page, "#new-folder");
  await rowOf(page, "main.rs").focus();
  await page.keyboard.press("Shift+S");
  await page.waitForSelector("#share-dialog");
  await look("share-dialog");
  await page.locator("#share-dialog [type=submit]").click();
  await page.locator("#shared .qr").waitFor();
  await look("shared");
  await shut(page, "#shared");
}

const PREVIEWS = [
  ["说明.md", ".markdown table"], ["海边日落.jpg", ".zoom img"], ["main.rs", ".hl-keyword"],
  ["interview.wav", ".media audio"], ["季度报告.pdf", ".leaf p"],
  ["backup.tar.zst", ".no-preview"],
];

export async function previews({ page, look }) {
  for (const [name, sign] of PREVIEWS) {
    await rowOf(page, name).locator(".name").click();
    await page.locator(`#preview ${sign}`).first().waitFor();
    await look(`preview-${name.split(".").at(-1)}`);
    await shut(page, "#preview");
  }
}

/** The views beside the folders. */
export async function places({ page, look }) {
  const views = ["recent", "favourites", "category/image", "category/video", "search/main",
    "search/nothing has this name", "trash"];
  for (const view of views) {
    await go(page, `#/${view}`);
    await page.waitForFunction((hash) => location.hash === hash
      && document.querySelector("#list-view").getAttribute("aria-busy") === "false",
    encodeURI(`#/${view}`));
    await look(view.replace(/\/nothing.*/, "-empty").replace("/", "-"));
  }
  await go(page, "#/shares");
  await page.waitForSelector("#page-view .line");
  await look("shares");
  await page.locator("#page-view .line .line-end button:nth-child(2)").first().click();
  await page.waitForSelector("#edit-share");
  await look("edit-share");
  await shut(page, "#edit-share");
  await page.locator("#page-view .line .danger").first().click();
  await page.waitForSelector("#confirm");
  await look("confirm");
  await shut(page, "#confirm");
  await go(page, "#/public");
  await page.waitForSelector("#page-view .line");
  await look("public");
}

export async function settings({ page, look }) {
  await go(page, "#/settings");
  await page.waitForSelector("#page-view .line");
  await page.waitForSelector("#page-view .figure");
  await page.waitForSelector("#page-view .line-list:not([hidden]) .danger");
  await look("settings", true);
  await page.locator("#second-factor").click();
  await page.fill("#totp-password-input", PASSWORD);
  await look("password");
  await page.locator("#totp-password [type=submit]").click();
  await page.waitForSelector("#totp .qr");
  await look("totp");
  await shut(page, "#totp");
  await page.locator("#new-token").click();
  await page.waitForSelector("#token");
  await look("token");
  await shut(page, "#token");
}

/** Uploads on their way: on a network slow enough to watch them, and on none. */
export async function transfers({ page, look, world, tag }) {
  const { context } = { context: page.context() };
  await go(page, "#/");
  await rowOf(page, "main.rs").waitFor();
  const client = await context.newCDPSession(page);
  await client.send("Network.emulateNetworkConditions", {
    offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: 150_000,
  });
  const more = [["海边日落.mp4", 4e6], ["dataset.zip", 3e6], ["lecture-03.mp4", 3e6],
    ["notes.md", 2e5], ["IMG_0002.jpg", 2e6]];
  const paths = [];
  // Names of their own for each walk: all are of one account, and a small file may have arrived
  // before the others are cancelled.
  const walk = [...tag].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 997, 0);
  for (const [plain, bytes] of more) {
    const name = plain.replace(".", `-${walk}.`);
    paths.push(await makeFile(world.dir, name, bytes, name)); // never seen before
  }
  await page.setInputFiles("#picker", paths);
  await page.waitForFunction(() => document.querySelector("#transfer-total").value > 0.02);
  await look("sending");
  await page.click("#transfer-cancel");
  await client.detach(); // the network is as fast as it is again
  await context.setOffline(true);
  await page.setInputFiles("#picker", paths[3]);
  await page.waitForSelector('#transfer-rows [data-state="waiting"]');
  await look("waiting");
  await page.click("#transfer-cancel");
  await page.click("#transfer-clear");
  await go(page, "#/folder/1");
  await page.waitForSelector("#failed:not([hidden])");
  await look("failed");
  await context.setOffline(false);
}

/** What is seen for a moment: loading, and a drag over the page. */
export async function curtains({ page, look }) {
  let release;
  const held = new Promise((resolve) => { release = resolve; });
  await page.route("**/api/disk/**", async (route) => {
    await held;
    await route.continue();
  });
  await go(page, "#/");
  await page.waitForSelector("#loading:not([hidden])");
  await look("loading");
  release();
  await rowOf(page, "main.rs").waitFor();
  await page.unroute("**/api/disk/**");
  await page.evaluate(() => {
    const data = new window.DataTransfer();
    data.items.add(new window.File(["x"], "x.txt"));
    const enter = { dataTransfer: data, cancelable: true };
    window.dispatchEvent(new window.DragEvent("dragenter", enter));
  });
  await page.waitForSelector("#drop:not([hidden])");
  await look("drop");
}

/** The pages of somebody who has nothing but a link. */
export async function visitor({ page, url, look, seeded }) {
  const { coded, open, stopped } = seeded.shared;
  await page.goto(`${url}/share.html#/${coded}`);
  await page.waitForSelector("#lock:not([hidden])");
  await look("visitor-code");
  await page.fill("#code-input", "wrong1");
  await page.click("#code-form button");
  await page.waitForSelector("#code-input-error:not(:empty)");
  await look("visitor-wrong-code");
  await page.goto("about:blank");
  await page.goto(`${url}/share.html#/${open}`);
  await rowOf(page, "main.rs").waitFor();
  await look("visitor-list");
  await page.getByTitle("Photographs 2026").click();
  await rowOf(page, "西湖 West Lake").waitFor();
  await look("visitor-folder");
  await rowOf(page, "IMG_0001.jpg").locator(".name").click();
  await page.waitForSelector("#preview .zoom img");
  await look("visitor-preview");
  await shut(page, "#preview");
  await page.click("#report-share");
  await page.waitForSelector("#report");
  await look("visitor-report");
  await page.goto("about:blank");
  await page.goto(`${url}/share.html#/${stopped}`);
  await page.waitForSelector("#gone:not([hidden])");
  await look("visitor-gone");
}

export async function administration({ page, url, look }) {
  await page.goto(`${url}/files.html#/admin/overview`);
  await page.waitForSelector(".server .meter");
  await look("admin", true);
  await go(page, "#/admin/users");
  await page.waitForSelector("tbody tr");
  await look("admin-users");
  await page.locator("#page-view .primary").click();
  await page.waitForSelector("#account-dialog");
  await look("admin-new");
  await shut(page, "#account-dialog");
  await page.locator("tbody button").first().click();
  await page.waitForSelector("#edit-account");
  await look("admin-edit");
  await shut(page, "#edit-account");
  await go(page, "#/admin/audit");
  await page.waitForSelector(".table .wrap");
  await look("admin-audit");
}
