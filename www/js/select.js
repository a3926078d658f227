// select.js: which items of a list are chosen: one, many, a range. Pure: draws nothing, and works
// on keys, so that a choice survives sorting, newcomers and pages that are loaded later.

export class Selection {
  constructor() {
    /** @type {Set<string>} */
    this.keys = new Set();
    /** Where a range starts: the last key that was chosen by itself. @type {string | null} */
    this.anchor = null;
    /** What the last range covered; the next one with the same anchor replaces it. */
    this.range = /** @type {string[]} */ ([]);
  }

  get size() {
    return this.keys.size;
  }

  /** @param {string} key */
  has(key) {
    return this.keys.has(key);
  }

  /** Chooses one and nothing else. @param {string} key */
  only(key) {
    this.keys = new Set([key]);
    this.anchor = key;
    this.range = [];
  }

  /** Adds one, or takes it out. @param {string} key */
  toggle(key) {
    if (!this.keys.delete(key)) this.keys.add(key);
    this.anchor = key;
    this.range = [];
  }

  /**
   * Chooses everything between the anchor and a key.
   * @param {readonly string[]} order all keys, as they are shown
   * @param {string} key
   */
  reach(order, key) {
    const to = order.indexOf(key);
    const from = this.anchor === null ? to : order.indexOf(this.anchor);
    if (to < 0) return;
    for (const one of this.range) this.keys.delete(one);
    const start = from < 0 ? to : from;
    this.range = order.slice(Math.min(start, to), Math.max(start, to) + 1);
    for (const one of this.range) this.keys.add(one);
    this.anchor ??= key;
  }

  /** @param {Iterable<string>} keys */
  all(keys) {
    this.keys = new Set(keys);
    this.range = [];
  }

  clear() {
    this.keys.clear();
    this.range = [];
    this.anchor = null;
  }

  /** Forgets what is no longer there. @param {Iterable<string>} gone */
  drop(gone) {
    for (const key of gone) this.keys.delete(key);
    if (this.anchor !== null && !this.keys.has(this.anchor)) this.anchor = null;
    this.range = [];
  }
}
