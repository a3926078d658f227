// folder.js: the view of one folder: its heading, its rows, and what stands there instead of rows.
import { downloadUrl, ROOT } from "./api.js";
import { clone, find, setIcon, words } from "./dom.js";
import { fullMoment, kindOf, moment, size } from "./format.js";
import { onLanguage, t, tn } from "./i18n.js";
import { Listing } from "./listing.js";
import { Rows } from "./rows.js";
import { addressOf, nameOf, remember, showTrail } from "./trail.js";

/** @typedef {import("./api.js").Node} Node */
/** @typedef {import("./api.js").Sort} Sort */

/** Rows from the end at which the next page is asked for. */
const MORE_ROWS = 60;
/** How long a newcomer is marked. */
const FRESH_MS = 2_500;

const grid = find("#grid");
const scroller = find("#scroller");
/** @type {Set<string>} */
const fresh = new Set();
const listing = new Listing(draw);
const rows = new Rows(scroller, find("#rows"), {
  key: (/** @type {Node} */ node) => node.id,
  make: () => clone("#row"),
  fill,
});

/** @param {HTMLElement} row @param {Node} node @param {number} index */
function fill(row, node, index) {
  const kind = kindOf(node);
  const folder = node.kind === "folder";
  row.setAttribute("aria-rowindex", String(index + 2)); // the heading is the first
  row.dataset.index = String(index);
  row.dataset.kind = kind;
  row.classList.toggle("fresh", fresh.has(node.id));
  const icon = find("svg.kind", row);
  setIcon(icon, `kind-${kind}`);
  icon.setAttribute("aria-label", t(`kind.${kind}`));
  const tab = index === rows.active ? 0 : -1;
  const name = /** @type {HTMLAnchorElement} */ (find(".name", row));
  name.textContent = node.name;
  name.title = node.name;
  name.tabIndex = tab;
  name.href = folder ? addressOf(node.id) : downloadUrl(node.id);
  name.toggleAttribute("download", !folder);
  find(".size", row).textContent = folder ? "" : size(node.size);
  const time = /** @type {HTMLTimeElement} */ (find("time", row));
  time.textContent = moment(node.modified_ms, Date.now());
  time.dateTime = new Date(node.modified_ms).toISOString();
  time.title = fullMoment(node.modified_ms);
  const get = /** @type {HTMLAnchorElement} */ (find(".get", row));
  get.hidden = folder;
  get.href = folder ? "#" : downloadUrl(node.id);
  get.tabIndex = tab;
  get.setAttribute("aria-label", t("files.download", { name: node.name }));
}

/** The folder's name as people know it. */
export function here() {
  const { id, folder } = listing;
  return { id, name: id === ROOT ? t("files.title") : folder?.name ?? nameOf(id) };
}

function drawHeading() {
  const { name } = here();
  find("#folder-name").textContent = name;
  grid.setAttribute("aria-label", t("files.list", { folder: name }));
  const n = listing.nodes.length;
  const known = listing.state !== "loading" && listing.state !== "failed";
  find("#count").textContent = !known ? "" : listing.next === null
    ? tn("files.count", n) : t("files.count_more", { n });
  for (const head of grid.querySelectorAll("[data-sort]")) {
    const on = head.getAttribute("data-sort") === listing.sort;
    const way = listing.direction === "asc" ? "ascending" : "descending";
    head.setAttribute("aria-sort", on ? way : "none");
  }
}

function draw() {
  const { state, nodes } = listing;
  for (const node of nodes) if (node.kind === "folder") remember(node);
  if (listing.folder) remember(listing.folder);
  drawHeading();
  const empty = state === "ready" && nodes.length === 0;
  find("#loading").hidden = state !== "loading";
  find("#empty").hidden = !empty;
  find("#failed").hidden = state !== "failed";
  find("#more-failed").hidden = state !== "more-failed";
  grid.hidden = state === "loading" || state === "failed" || empty;
  grid.setAttribute("aria-rowcount", listing.next === null ? String(nodes.length + 1) : "-1");
  find("#main").setAttribute("aria-busy", String(state === "loading"));
  if (state === "failed") find("#failed-why").textContent = words(listing.error);
  rows.set(nodes);
  moreIfNear();
}

function moreIfNear() {
  const [, last] = rows.range();
  if (listing.state === "ready" && last + MORE_ROWS >= listing.nodes.length) listing.more();
}

/** Shows an item that was just made, if it belongs here. @param {Node} node */
export function arrived(node) {
  if ((node.parent ?? ROOT) !== listing.id && node.parent !== listing.folder?.id
    && !(listing.id === ROOT && listing.folder === null)) return;
  fresh.add(node.id);
  setTimeout(() => fresh.delete(node.id), FRESH_MS);
  listing.add(node);
}

/** Opens a folder. @param {string} id */
export async function openFolder(id) {
  rows.active = 0;
  scroller.scrollTop = 0;
  showTrail(id);
  await listing.open(id);
  return listing.state === "failed" ? listing.error : null;
}

/** Tries again what could not be loaded. */
export async function reload() {
  await openFolder(listing.id);
}

/** @param {KeyboardEvent} event @returns {number | null} the row to go to */
function target(event) {
  const page = Math.max(1, Math.floor(scroller.clientHeight / rows.height) - 1);
  switch (event.key) {
    case "ArrowDown": return rows.active + 1;
    case "ArrowUp": return rows.active - 1;
    case "PageDown": return rows.active + page;
    case "PageUp": return rows.active - page;
    case "Home": return 0;
    case "End": return listing.nodes.length - 1;
    default: return null;
  }
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  const at = event.target instanceof HTMLElement ? event.target : null;
  const row = at?.closest(".row");
  if (!at || !(row instanceof HTMLElement)) return;
  const place = at.classList.contains("get") ? ".get" : ".name";
  if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
    const other = find(event.key === "ArrowRight" ? ".get" : ".name", row);
    if (!other.hidden) other.focus();
    return;
  }
  const index = target(event);
  if (index === null) return;
  event.preventDefault();
  rows.reveal(index);
  const next = rows.row(rows.active);
  const wanted = next && find(place, next);
  if (next) (wanted?.hidden ? find(".name", next) : wanted)?.focus();
}

grid.addEventListener("keydown", onKey);
grid.addEventListener("focusin", (event) => {
  const row = event.target instanceof HTMLElement ? event.target.closest(".row") : null;
  if (row instanceof HTMLElement && Number(row.dataset.index) !== rows.active) {
    rows.active = Number(row.dataset.index);
    rows.draw();
  }
});
scroller.addEventListener("scroll", moreIfNear, { passive: true });
for (const head of grid.querySelectorAll("[data-sort]")) {
  find("button", head).addEventListener("click", () => {
    listing.sortBy(/** @type {Sort} */ (head.getAttribute("data-sort")));
  });
}
find("#reload").addEventListener("click", reload);
find("#reload-more").addEventListener("click", () => listing.more());
onLanguage(() => {
  draw();
  showTrail(listing.id);
});
