// trail.js: the folders from the root to where we are, as links, and what folders are called.
import { ROOT } from "./api.js";
import { find, h } from "./dom.js";
import { t } from "./i18n.js";

/** @typedef {import("./api.js").Crumb} Crumb */

/** What folders seen so far are called. @type {Map<string, string>} */
const names = new Map();

/** The page's address of a folder. @param {string} id */
export function addressOf(id) {
  return id === ROOT ? "#/" : `#/folder/${encodeURIComponent(id)}`;
}

/** Remembers what a page of a folder tells. @param {import("./api.js").Page} page */
export function remember(page) {
  for (const crumb of page.path) names.set(crumb.id, crumb.name);
  if (page.folder) names.set(page.folder.id, page.folder.name);
  for (const node of page.nodes) if (node.kind === "folder") names.set(node.id, node.name);
}

/** What a folder is called, as far as that is known. @param {string} id */
export function nameOf(id) {
  return id === ROOT ? t("files.title") : (names.get(id) ?? t("kind.folder"));
}

/** @param {Crumb} step @param {string} address @param {boolean} here */
function crumb(step, address, here) {
  return h(
    "li",
    {},
    h("a", {
      href: address,
      text: step.name,
      "aria-current": here ? "page" : null,
      "data-into": here ? null : step.id,
    }),
  );
}

/**
 * Shows the way to a folder.
 * @param {readonly Crumb[]} path without the root, the folder itself last
 * @param {(id: string) => string} [address]
 * @param {string} [root] what the root is called
 */
export function showTrail(path, address = addressOf, root = t("files.title")) {
  const last = path.at(-1);
  const steps = [{ id: ROOT, name: root }, ...path];
  const items = steps.map((step) => crumb(step, address(step.id), step === last));
  find("#crumbs").replaceChildren(...(last ? items : [])); // at the root the heading says it all
}
