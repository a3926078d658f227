// trail.js: the folders from the root to where we are, as links.
import { list, ROOT } from "./api.js";
import { find } from "./dom.js";
import { t } from "./i18n.js";

/** @typedef {{id: string, parent: string, name: string}} Step */

/** Folders above one another that are looked up; a longer way is cut at its far end. */
const STEPS_MAX = 64;

/** Folders seen so far: walking through them asks nothing. @type {Map<string, Step>} */
const seen = new Map();

/** The page's address of a folder. @param {string} id */
export function addressOf(id) {
  return id === ROOT ? "#/" : `#/folder/${encodeURIComponent(id)}`;
}

/** Remembers a folder. @param {import("./api.js").Node} node */
export function remember(node) {
  seen.set(node.id, { id: node.id, parent: node.parent ?? ROOT, name: node.name });
}

/** What a folder is called, as far as that is known. @param {string} id */
export function nameOf(id) {
  return seen.get(id)?.name ?? "…";
}

/**
 * The folders above and including one, the root excluded.
 * @param {string} id
 * @returns {Promise<Step[]>}
 */
async function stepsTo(id) {
  const steps = [];
  for (let at = id; at !== ROOT && steps.length < STEPS_MAX; ) {
    let step = seen.get(at);
    if (!step) {
      const { folder } = await list(at, { limit: 1 });
      if (!folder) break; // it is the root under its own id
      remember(folder);
      step = seen.get(at) ?? { id: at, parent: folder.parent ?? ROOT, name: folder.name };
    }
    steps.unshift(step);
    at = step.parent;
  }
  return steps;
}

/** @param {string} id @param {string} name @param {boolean} here */
function crumb(id, name, here) {
  const item = document.createElement("li");
  const link = document.createElement("a");
  link.href = addressOf(id);
  link.textContent = name;
  if (here) link.setAttribute("aria-current", "page");
  item.append(link);
  return item;
}

/** @param {Step[]} steps */
function draw(steps) {
  const last = steps.at(-1);
  const items = [crumb(ROOT, t("files.title"), false)];
  for (const step of steps) items.push(crumb(step.id, step.name, step === last));
  find("#crumbs").replaceChildren(...(last ? items : [])); // at the root the heading says it all
}

let turn = 0;

/** Shows the way to a folder. What cannot be looked up is left out. @param {string} id */
export async function showTrail(id) {
  turn += 1;
  const mine = turn;
  const known = seen.get(id);
  draw(known ? [known] : []);
  try {
    const steps = await stepsTo(id);
    if (mine === turn) draw(steps);
  } catch {
    // The list itself tells what is wrong with the server; the way home is already shown.
  }
}
