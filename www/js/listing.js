// listing.js: the items of one folder as far as they are loaded: order, next page, newcomers.
// Draws nothing. The server's order is the truth; newcomers are put where it would put them.
import { list } from "./api.js";

/** @typedef {import("./api.js").Node} Node */
/** @typedef {import("./api.js").Sort} Sort */
/** @typedef {import("./api.js").Order} Order */
/** @typedef {"loading" | "failed" | "ready" | "more" | "more-failed"} State */

/** Items asked for at once. */
const PAGE_ITEMS = 200;

/** As the database compares names (utf8mb4_unicode_520_ci), nearly: case and accents aside. */
const names = new Intl.Collator("en", { sensitivity: "base" });

/**
 * The order the server lists in: folders before files, then by the key, then by id.
 * @param {Node} a @param {Node} b @param {Sort} sort @param {Order} direction
 */
export function compare(a, b, sort, direction) {
  if (a.kind !== b.kind) return a.kind === "folder" ? -1 : 1;
  const by = {
    name: names.compare(a.name, b.name),
    size: a.size - b.size,
    modified: a.modified_ms - b.modified_ms,
  }[sort] || a.id.length - b.id.length || (a.id < b.id ? -1 : 1);
  return direction === "asc" ? by : -by;
}

export class Listing {
  /** @param {() => void} onChange */
  constructor(onChange) {
    this.onChange = onChange;
    this.id = "";
    /** @type {Sort} */
    this.sort = "name";
    /** @type {Order} */
    this.direction = "asc";
    /** @type {Node | null} */
    this.folder = null;
    /** @type {Node[]} */
    this.nodes = [];
    /** @type {string | null} */
    this.next = null;
    /** @type {State} */
    this.state = "loading";
    /** @type {unknown} */
    this.error = null;
    /** Counts the openings, so that an answer to an earlier one is dropped. */
    this.turn = 0;
  }

  /** Loads a folder from its start. @param {string} id */
  async open(id) {
    this.id = id;
    this.folder = null;
    this.nodes = [];
    this.next = null;
    await this.#load("loading");
  }

  /** Loads what comes after the last item, if anything does. */
  async more() {
    if (this.next !== null && (this.state === "ready" || this.state === "more-failed")) {
      await this.#load("more");
    }
  }

  /** Sorts by a key; by the same key again: the other way round. @param {Sort} sort */
  async sortBy(sort) {
    const again = sort === this.sort;
    this.direction = again && this.direction === "asc" ? "desc" : "asc";
    this.sort = sort;
    await this.open(this.id);
  }

  /** Takes in an item that was just made. @param {Node} node */
  add(node) {
    if (this.state === "loading" || this.state === "failed") return;
    const rest = this.nodes.filter((one) => one.id !== node.id);
    const found = rest.findIndex((one) => compare(node, one, this.sort, this.direction) < 0);
    const index = found < 0 ? rest.length : found;
    if (index === rest.length && this.next !== null) return; // it comes with a later page
    rest.splice(index, 0, node);
    this.nodes = rest;
    this.onChange();
  }

  /** @param {"loading" | "more"} state */
  async #load(state) {
    this.turn += 1;
    const turn = this.turn;
    this.state = state;
    this.onChange();
    try {
      const page = await list(this.id, {
        sort: this.sort, order: this.direction, limit: PAGE_ITEMS, cursor: this.next,
      });
      if (turn !== this.turn) return;
      const held = new Set(this.nodes.map((node) => node.id));
      this.nodes = this.nodes.concat(page.nodes.filter((node) => !held.has(node.id)));
      this.folder = page.folder;
      this.next = page.next;
      this.state = "ready";
    } catch (error) {
      if (turn !== this.turn) return;
      this.error = error;
      this.state = state === "more" ? "more-failed" : "failed";
    }
    this.onChange();
  }
}
