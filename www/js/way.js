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

/** Makes a folder, or finds the one that has the name.
 * @param {string} parent @param {string} name @returns {Promise<Node>}
 * @throws {ApiError} `name_taken` by a file, and whatever making a folder may answer */
async function folderOf(parent, name) {
  try {
    return await makeFolder(parent, name);
  } catch (error) {
    const taken = error instanceof ApiError && error.code === "name_taken";
    const there = taken ? await folderIn(parent, name) : null;
    if (there) return there;
    throw error;
  }
}

/**
 * Makes the folders of ways that are not there yet, each once, and goes on behind a way that
 * cannot be made.
 * @param {string} parent where they begin
 * @param {readonly string[]} paths names with strokes between them
 * @param {(node: Node) => void} onTop called with the first folder of a way, once for each
 * @returns {Promise<unknown[]>} why ways could not be made, an error for each of them
 */
export async function makeWays(parent, paths, onTop) {
  /** @type {Map<string, Promise<Node>>} what failed is not asked for again either */
  const made = new Map();
  const errors = [];
  for (const path of paths) {
    let [at, way] = [parent, ""];
    try {
      for (const name of path.split("/")) {
        way += `/${name}`;
        let making = made.get(way);
        if (!making) {
          making = folderOf(at, name);
          made.set(way, making);
          if (at === parent) onTop(await making);
        }
        at = (await making).id;
      }
    } catch (error) {
      errors.push(error);
    }
  }
  return errors;
}
