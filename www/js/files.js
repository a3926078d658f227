// files.js: the drive's page: who is logged in, which view is open, and the uploads, which go on
// while views change. Views that are no lists of nodes are loaded when they are opened.
import { logout, onError, ROOT, session } from "./api.js";
import { Browser } from "./browser.js";
import { Deeds } from "./deeds.js";
import { find, note, words } from "./dom.js";
import { size } from "./format.js";
import { onLanguage, t } from "./i18n.js";
import { listenToKeys, showHelp } from "./keys.js";
import { watchDrive } from "./live.js";
import { drawPlaces, folderPlace, markPlace, placeOf } from "./places.js";
import { ready, showPrefs } from "./prefs.js";
import { nameOf, showTrail } from "./trail.js";
import { Uploads } from "./uploads.js";

/** @typedef {import("./api.js").User} User */
/** @typedef {import("./browser.js").Place} Place */
/** @typedef {{close?: () => void, changed?: (kinds: ReadonlySet<string>) => void,
 *   speak?: () => void}} View */

/** When the used space is asked for after the last change. */
const SPACE_MS = 800;

/**
 * The views that are loaded when they are opened.
 * @type {Record<string, (place: HTMLElement, rest: string[], user: User) => Promise<View>>}
 */
const PAGES = {
  shares: async (place) => (await import("./views/shares.js")).open(place),
  public: async (place) => (await import("./views/public.js")).open(place),
  settings: async (place, _, user) => (await import("./views/settings.js")).open(place, user),
  admin: async (place, rest) => (await import("./views/admin.js")).open(place, rest),
};

/** @type {User | null} */
let user = null;
/** @type {View | null} */
let view = null;
let turn = 0;
let spaceTimer = 0;

const deeds = new Deeds();
const browser = new Browser(find("#list-view"), deeds);
deeds.browser = browser;
deeds.onSpace = () => {
  clearTimeout(spaceTimer);
  spaceTimer = window.setTimeout(loadUser, SPACE_MS);
};
browser.onDraw = () => {
  showTrail(browser.listing.path);
};

/** Where uploads go: the open folder, or the root from where there is none. */
function here() {
  const id = browser.place?.folder ?? ROOT;
  return { id, name: nameOf(id) };
}

const uploads = new Uploads({
  here,
  arrived: (node, path) => {
    const parent = node.parent ?? ROOT;
    if (path === "" && browser.place?.folder === parent) browser.arrived(node);
    else if (path !== "" && browser.place?.folder) refreshSoon();
    deeds.onSpace();
  },
});

let refreshTimer = 0;
/** The folders that an upload made on its way appear, many of them at once. */
function refreshSoon() {
  if (refreshTimer === 0) {
    refreshTimer = window.setTimeout(() => {
      refreshTimer = 0;
      browser.listing.refresh();
    }, SPACE_MS);
  }
}

/** Leaves for the log-in page, to come back here afterwards. */
function leave() {
  const query = new URLSearchParams();
  if (location.hash.startsWith("#/")) query.set("next", location.hash);
  if (user) query.set("ended", "yes"); // somebody was logged in a moment ago: say what happened
  location.assign(`login.html?${query}`);
}

async function route() {
  const [, name = "", ...rest] = location.hash.split("/").map(safeDecode);
  turn += 1;
  const mine = turn;
  view?.close?.();
  view = null;
  markPlace();
  showSide(false);
  const page = Object.hasOwn(PAGES, name) ? PAGES[name] : undefined;
  find("#list-view").hidden = page !== undefined;
  // Each opening has a holder of its own: what comes late, of a view that was left, is not seen.
  const last = find("#page-view");
  const holder = /** @type {HTMLElement} */ (last.cloneNode(false));
  last.replaceWith(holder);
  holder.hidden = page === undefined;
  if (!page) return browser.open(placeOf(name, rest.join("/")) ?? folderPlace(ROOT));
  try {
    if (!user) await loading;
    if (!user || mine !== turn) return;
    browser.place = null;
    const opened = await page(holder, rest, user);
    if (mine === turn) view = opened;
    else opened.close?.();
  } catch (error) {
    note(words(error));
  }
}

/** @param {string} text a part of the address, which anybody may have typed */
function safeDecode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function drawUser() {
  if (!user) return;
  const called = user.nickname || user.name;
  find("#avatar").textContent = Array.from(called)[0]?.toUpperCase() ?? "";
  find("#account").setAttribute("aria-label", t("account.menu", { name: called }));
  find("#account-nickname").textContent = called;
  find("#account-name").textContent = user.name;
  const { used_bytes: used, quota_bytes: quota } = user;
  const share = quota > 0 ? Math.min(1, used / quota) : 0;
  const meter = find("#gauge");
  meter.setAttribute("aria-valuenow", String(Math.round(share * 100)));
  const text =
    quota > 0
      ? t("usage.of", { used: size(used), quota: size(quota) })
      : t("usage.only", { used: size(used) });
  meter.setAttribute("aria-valuetext", text);
  meter.dataset.full = share > 0.95 ? "full" : share > 0.8 ? "near" : "";
  find("#gauge-fill").style.inlineSize = `${share * 100}%`;
  find("#usage-text").textContent = text;
}

async function loadUser() {
  try {
    user = await session();
    drawUser();
  } catch {
    // The list shows that the server cannot be reached; a session that has ended leads away.
  }
}

async function begin() {
  await loadUser();
  if (!user) return;
  listenToDrive(); // whoever is not logged in has nothing to hear
  drawPlaces(user.role === "admin");
  await uploads.restore(user.id);
}

async function end() {
  try {
    user = null;
    await logout();
    location.assign("login.html");
  } catch (error) {
    note(words(error));
  }
}

/** The bar of places on a narrow page. @param {boolean} open */
function showSide(open) {
  document.body.toggleAttribute("data-side", open);
  find("#side-shade").hidden = !open;
  find("#open-side").setAttribute("aria-expanded", String(open));
  if (open) find("#side").querySelector("a")?.focus();
}

function listenToBar() {
  find("#open-side").addEventListener("click", () =>
    showSide(!document.body.hasAttribute("data-side")),
  );
  find("#side-shade").addEventListener("click", () => showSide(false));
  find("#side").addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !document.body.hasAttribute("data-side")) return;
    showSide(false);
    find("#open-side").focus();
  });
  find("#log-out").addEventListener("click", end);
  find("#account-menu a").addEventListener("click", () => find("#account-menu").hidePopover());
  find("#help").addEventListener("click", showHelp);
  find("#skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address after # names the view
    (find("#list-view").hidden ? find("#page-view h1") : find("#folder-name")).focus();
  });
  const words = /** @type {HTMLInputElement} */ (find("#search-input"));
  find("#search").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = words.value.trim();
    if (text !== "") location.hash = `#/search/${encodeURIComponent(text)}`;
  });
}

/** What code has put into a view is said anew; a view that cannot do so is built anew. */
function respeak() {
  if (find("#page-view").hidden) return;
  if (view?.speak) view.speak();
  else route();
}

/** Undoes what the note on the page tells, while it is there. @param {KeyboardEvent} event */
function undo(event) {
  const at = event.target instanceof Element ? event.target : null;
  const asked = (event.ctrlKey || event.metaKey) && !event.shiftKey && event.key === "z";
  if (!asked || at?.closest("input:not([type=checkbox]), textarea, dialog")) return;
  const button = document.querySelector(".note-action");
  if (!(button instanceof HTMLElement) || button.textContent !== t("app.undo")) return;
  event.preventDefault();
  button.click();
}

function listenToPage() {
  document.addEventListener("keydown", undo);
  listenToKeys({
    "/": () => find("#search-input").focus(),
    "?": showHelp,
    "Shift+N": () => browser.place?.folder && deeds.makeFolder(browser.place.folder),
    "Shift+U": () => find("#picker").click(),
    "Shift+V": () => find("#view-mode").click(),
  });
  document.addEventListener("paste", (event) => {
    const at = event.target instanceof Element ? event.target : document.body;
    if (at.closest("input, textarea, dialog")) return;
    const files = [...(event.clipboardData?.files ?? [])];
    const folder = browser.place?.folder;
    if (files.length > 0) uploads.paste(files);
    else if (folder) deeds.paste(folder);
  });
}

/** Takes in what other tabs and devices change. */
function listenToDrive() {
  watchDrive((kinds, folders) => {
    const place = browser.place;
    const again = kinds.has("open");
    const shown = place?.folder
      ? folders.has(place.folder) || folders.has("all")
      : place?.kind === "trash"
        ? kinds.has("trash")
        : kinds.has("files");
    if (place && (shown || again)) browser.listing.refresh();
    if (again || kinds.has("account") || kinds.has("files") || kinds.has("trash")) deeds.onSpace();
    view?.changed?.(kinds);
  });
}

onError((error) => {
  if (error.code === "unauthenticated") leave();
});
listenToBar();
listenToPage();
window.addEventListener("hashchange", route);
showPrefs(find("[data-prefs]"));
onLanguage(drawUser);
onLanguage(respeak);
drawPlaces(false);
ready("files.title");
const loading = begin();
route();
