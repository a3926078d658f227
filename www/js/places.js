// places.js: the places of the drive whose nodes can be listed, and the bar that leads to them.
import {
  list,
  listCategory,
  listFavourites,
  listRecent,
  listTrash,
  ROOT,
  search,
  thumbUrl,
} from "./api.js";
import { find, h, icon } from "./dom.js";
import { t } from "./i18n.js";
import { addressOf, nameOf, remember } from "./trail.js";

/** @typedef {import("./browser.js").Place} Place */
/** @typedef {import("./i18n.js").Key} Key */

export const CATEGORIES = Object.freeze(
  /** @type {const} */ (["image", "video", "audio", "document", "archive", "other"]),
);

/** What all places of one's own disk share. */
const DISK = Object.freeze({
  kind: /** @type {const} */ ("disk"),
  folder: null,
  addressOf: (/** @type {{id: string}} */ node) => addressOf(node.id),
  thumb: thumbUrl,
});

/** @param {string} name @param {Key} title @param {Key} text */
const nothing = (name, title, text) => ({ icon: name, title, text });

/** @param {string} id @returns {Place} */
export function folderPlace(id) {
  return {
    ...DISK,
    folder: id,
    sorts: ["name", "size", "modified"],
    title: () => nameOf(id),
    load: async (ask) => {
      const page = await list(id, ask);
      remember(page);
      return page;
    },
    empty: nothing("kind-folder", "files.empty_title", "files.empty_text"),
  };
}

/** @param {string} category @returns {Place} */
function categoryPlace(category) {
  return {
    ...DISK,
    sorts: [],
    title: () => t(/** @type {Key} */ (`category.${category}`)),
    load: ({ limit, cursor }) => listCategory(category, { limit, cursor }),
    empty: nothing(`kind-${category}`, "category.empty_title", "category.empty_text"),
  };
}

/** @param {string} words @returns {Place} */
function searchPlace(words) {
  return {
    ...DISK,
    sorts: [],
    title: () => t("search.title", { words }),
    load: ({ limit, cursor }) => search(words, { limit, cursor }),
    empty: nothing("search", "search.empty_title", "search.empty_text"),
  };
}

/** @type {Record<string, (rest: string) => Place>} */
const PLACES = {
  "": () => folderPlace(ROOT),
  folder: folderPlace,
  category: categoryPlace,
  search: searchPlace,
  recent: () => ({
    ...DISK,
    sorts: [],
    title: () => t("nav.recent"),
    load: listRecent,
    empty: nothing("recent", "recent.empty_title", "recent.empty_text"),
  }),
  favourites: () => ({
    ...DISK,
    sorts: [],
    title: () => t("nav.favourites"),
    load: ({ limit, cursor }) => listFavourites({ limit, cursor }),
    empty: nothing("star", "favourites.empty_title", "favourites.empty_text"),
  }),
  trash: () => ({
    ...DISK,
    kind: "trash",
    sorts: [],
    title: () => t("nav.trash"),
    date: "trash.when",
    load: ({ limit, cursor }) => listTrash({ limit, cursor }),
    empty: nothing("trash", "trash.empty_title", "trash.empty_text"),
    note: "trash.note",
  }),
};

/**
 * The place of an address, if it is one whose nodes are listed.
 * @param {string} view its first word
 * @param {string} rest what follows
 */
export function placeOf(view, rest) {
  return Object.hasOwn(PLACES, view) ? (PLACES[view]?.(rest) ?? null) : null;
}

/** @param {string} href @param {string} name @param {Key} text @param {string} [into] */
function entry(href, name, text, into) {
  return h("li", {}, h("a", { href, "data-into": into }, icon(name), h("span", { t: text })));
}

/** Fills the bar. @param {boolean} admin */
export function drawPlaces(admin) {
  const category = (/** @type {string} */ name) =>
    entry(`#/category/${name}`, `cat-${name}`, /** @type {Key} */ (`category.${name}`));
  find("#places").replaceChildren(
    h(
      "ul",
      {},
      entry("#/", "files", "nav.files", ROOT),
      entry("#/recent", "recent", "nav.recent"),
      entry("#/favourites", "star", "nav.favourites"),
    ),
    h("ul", { class: "categories", tLabel: "nav.categories" }, ...CATEGORIES.map(category)),
    h(
      "ul",
      {},
      entry("#/shares", "share", "nav.shares"),
      entry("#/public", "ranking", "nav.public"),
      entry("#/trash", "trash", "nav.trash", "trash"),
      ...(admin ? [entry("#/admin", "admin", "nav.admin")] : []),
    ),
  );
  markPlace();
}

/** Marks the entry that leads to where we are. */
export function markPlace() {
  const [, view = "", rest = ""] = location.hash.split("/");
  for (const link of find("#places").querySelectorAll("a")) {
    const [, to = "", more = ""] = (link.getAttribute("href") ?? "").split("/");
    const same = to === view && (to !== "category" || more === rest);
    if (same || (to === "" && view === "folder")) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}
