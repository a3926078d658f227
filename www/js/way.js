// way.js: makes folders in folders: what a drop holds besides files. Uploads make their own way.
import { ApiError, list, makeFolder } from "./api.js";
import { names } from "./listing.js";

/** @typedef {import("./api.js").Node} Node */

/** Items of one page: folders come first, so these are many folders. */
const ITEMS = 1000;

/** The folder of that name, as the server compares names.
 * @param {string} parent @param {string} name @returns {Promise<Node | null>} */
async function folderIn(parent, name) {
  let cursor = null;
  do {
    const page = await list(parent, { sort: "name", limit: ITEMS, cursor });
    const found = page.nodes.find((one) => names.compare(one.name, name) === 0);
    if (found) return found.kind === "folder" ? found : null;
    cursor = page.nodes.at(-1)?.kind === "file" ? null : page.next;
  } while (cursor !== null);
  return null;
}

/**
 * Makes the folders of a way that are not there yet.
 * @param {string} parent where it begins
 * @param {string} path names with strokes between them
 * @returns {Promise<Node | null>} the first folder on it
 * @throws {ApiError} `name_taken` by a file, and whatever making a folder may answer
 */
export async function makeWay(parent, path) {
  let first = null;
  let at = parent;
  for (const name of path.split("/")) {
    const node = await makeFolder(at, name).catch(async (error) => {
      const taken = error instanceof ApiError && error.code === "name_taken";
      const there = taken ? await folderIn(at, name) : null;
      if (there) return there;
      throw error;
    });
    first ??= node;
    at = node.id;
  }
  return first;
}
