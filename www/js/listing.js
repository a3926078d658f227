// listing.js: the items of one place as far as they are loaded: order, next page, newcomers.
// Draws nothing. The server's order is the truth; newcomers are put where it would put them.

/** @typedef {import("./api.js").Node} Node */
/** @typedef {import("./api.js").Page} Page */
/** @typedef {import("./api.js").Sort} Sort */
/** @typedef {import("./api.js").Order} Order */
/** @typedef {"loading" | "failed" | "ready" | "more" | "more-failed"} State */
/** @typedef {{sort?: Sort, order?: Order, limit: number, cursor: string | null}} Ask */
/**
 * What a listing shows: where its pages come from, and by what they may be sorted there.
 * @typedef {object} Source
 * @property {(ask: Ask) => Promise<Page>} load
 * @property {readonly Sort[]} sorts empty: in the server's own order
 * @property {Sort} [sort] the first order
 * @property {Order} [order]
 */

/** Items asked for at first, and for each page after: one short answer, then few long ones. */
const FIRST_ITEMS = 200;
const PAGE_ITEMS = 1000;

/** As the database compares names (utf8mb4_unicode_520_ci), nearly: case and accents aside. */
export const names = new Intl.Collator("en", { sensitivity: "base" });

/**
 * The order the server lists in: folders before files, then by the key, then by id.
 * @param {Node} a @param {Node} b @param {Sort} sort @param {Order} direction
 */
export function compare(a, b, sort, direction) {
  if (a.kind !== b.kind) return a.kind === "folder" ? -1 : 1;
  const by =
    {
      name: names.compare(a.name, b.name),
      size: a.size - b.size,
      modified: a.modified_ms - b.modified_ms,
    }[sort] ||
    a.id.length - b.id.length ||
    (a.id < b.id ? -1 : 1);
  return direction === "asc" ? by : -by;
}

export class Listing {
  /** @param {(soon: boolean) => void} onChange `soon`: one of many that may come at once */
  constructor(onChange) {
    this.onChange = onChange;
    /** @type {Source | null} */
    this.source = null;
    /** @type {Sort} */
    this.sort = "name";
    /** @type {Order} */
    this.direction = "asc";
    /** @type {Node | null} */
    this.folder = null;
    /** @type {import("./api.js").Crumb[]} the way to it, the folder itself last */
    this.path = [];
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

  /** Loads a place from its start. @param {Source} source */
  async open(source) {
    if (source !== this.source) {
      this.source = source;
      if (source.sorts.length > 0 && !source.sorts.includes(this.sort)) {
        this.sort = source.sort ?? source.sorts[0] ?? "name";
        this.direction = source.order ?? "asc";
      }
    }
    this.folder = null;
    this.path = [];
    this.nodes = [];
    this.next = null;
    await this.#load("loading");
  }

  /** Loads from the start again, after a failure or a change of order. */
  async reload() {
    if (this.source) await this.open(this.source);
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
    await this.reload();
  }

  /** Takes in an item that was just made or has changed. @param {Node} node */
  add(node) {
    if (this.state === "loading" || this.state === "failed") return;
    const rest = this.nodes.filter((one) => one.id !== node.id);
    const found = rest.findIndex((one) => this.#before(node, one));
    const index = found < 0 ? rest.length : found;
    if (index === rest.length && this.next !== null) return; // it comes with a later page
    rest.splice(index, 0, node);
    this.nodes = rest;
    this.onChange(true);
  }

  /** Puts a changed item in the place of the old one, wherever that stands. @param {Node} node */
  replace(node) {
    this.nodes = this.nodes.map((one) => (one.id === node.id ? node : one));
    this.onChange(false);
  }

  /** @param {Node} node @param {Node} one */
  #before(node, one) {
    if (this.source?.sorts.length === 0) return true; // newest first, all such places are
    return compare(node, one, this.sort, this.direction) < 0;
  }

  /** Takes out what is gone. @param {ReadonlySet<string>} ids */
  remove(ids) {
    const rest = this.nodes.filter((node) => !ids.has(node.id));
    if (rest.length === this.nodes.length) return;
    this.nodes = rest;
    this.onChange(false);
    if (rest.length === 0 && this.next !== null) this.more();
  }

  /** Asks again for what is shown, without clearing it: somebody else has changed something. */
  async refresh() {
    if (!this.source || this.state !== "ready") return;
    const { turn, source } = this;
    const limit = Math.min(PAGE_ITEMS, Math.max(FIRST_ITEMS, this.nodes.length));
    try {
      const page = await source.load(this.#ask(limit, null));
      if (turn !== this.turn || this.state !== "ready") return;
      const fresh = new Set(page.nodes.map((node) => node.id));
      const later = this.nodes.slice(page.nodes.length).filter((node) => !fresh.has(node.id));
      const deep = page.next !== null && this.nodes.length > limit;
      this.nodes = deep ? page.nodes.concat(later) : page.nodes;
      if (!deep) this.next = page.next;
      this.folder = page.folder ?? this.folder;
      this.path = page.path;
      this.onChange(false);
    } catch {
      // What is shown stays; the next event or the next visit asks again.
    }
  }

  /** @param {number} limit @param {string | null} cursor @returns {Ask} */
  #ask(limit, cursor) {
    if (this.source?.sorts.length === 0) return { limit, cursor };
    return { sort: this.sort, order: this.direction, limit, cursor };
  }

  /** @param {"loading" | "more"} state */
  async #load(state) {
    const { source } = this;
    if (!source) return;
    this.turn += 1;
    const turn = this.turn;
    this.state = state;
    this.onChange(false);
    try {
      const limit = state === "loading" ? FIRST_ITEMS : PAGE_ITEMS;
      const page = await source.load(this.#ask(limit, this.next));
      if (turn !== this.turn) return;
      const held = new Set(this.nodes.map((node) => node.id));
      this.nodes = this.nodes.concat(page.nodes.filter((node) => !held.has(node.id)));
      this.folder = page.folder;
      this.path = page.path;
      this.next = page.next;
      this.state = "ready";
    } catch (error) {
      if (turn !== this.turn) return;
      this.error = error;
      this.state = state === "more" ? "more-failed" : "failed";
    }
    this.onChange(false);
  }
}
