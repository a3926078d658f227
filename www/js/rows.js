// rows.js: a long list of which only the visible part is in the document, in one column or as
// tiles. Knows nothing of files.

/** Lines drawn beyond each edge, so that scrolling and the tab key find the next ones in place. */
const OVERSCAN = 8;

/**
 * @template T
 * @typedef {object} Look
 * @property {(item: T) => string} key
 * @property {() => HTMLElement} make an empty row
 * @property {(row: HTMLElement, item: T, index: number) => void} fill called whenever it may differ
 */

/** @template T */
export class Rows {
  /**
   * @param {HTMLElement} scroller what scrolls
   * @param {HTMLElement} body what holds the rows; its `--row` is their height in pixels, its
   *   `--tile` the least width of a tile, 0 for one column
   * @param {Look<T>} look
   */
  constructor(scroller, body, look) {
    this.scroller = scroller;
    this.body = body;
    this.look = look;
    /** @type {readonly T[]} */
    this.items = [];
    /** The row that stays in the document because it holds the focus. */
    this.active = 0;
    this.height = 1;
    this.columns = 1;
    /** @type {Map<string, HTMLElement>} */
    this.drawn = new Map();
    this.frame = 0;
    scroller.addEventListener("scroll", () => this.later(), { passive: true });
    new ResizeObserver(() => this.later()).observe(scroller);
  }

  /** @param {readonly T[]} items */
  set(items) {
    this.items = items;
    this.active = Math.max(0, Math.min(this.active, items.length - 1));
    this.draw();
  }

  /** Draws once before the next frame, however often it is asked. */
  later() {
    if (this.frame === 0) this.frame = requestAnimationFrame(() => this.draw());
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.#measure();
    const lines = Math.ceil(this.items.length / this.columns);
    this.body.style.blockSize = `${lines * this.height}px`;
    const [first, last] = this.range();
    const wanted = [];
    if (this.active < first) wanted.push(this.active);
    for (let index = first; index < last; index += 1) wanted.push(index);
    if (this.active >= last) wanted.push(this.active);
    this.#place(wanted);
  }

  #measure() {
    const style = getComputedStyle(this.body);
    this.height = parseFloat(style.getPropertyValue("--row")) || 48;
    const tile = parseFloat(style.getPropertyValue("--tile")) || 0;
    const width = this.body.clientWidth - parseFloat(style.paddingLeft) * 2;
    const columns = tile > 0 ? Math.max(2, Math.floor(width / tile)) : 1;
    if (columns !== this.columns) this.body.style.setProperty("--columns", String(columns));
    this.columns = columns;
  }

  /** The indexes to draw, the second one excluded. @returns {[number, number]} */
  range() {
    const top = this.scroller.scrollTop - this.body.offsetTop;
    const first = (Math.floor(top / this.height) - OVERSCAN) * this.columns;
    const lines = Math.ceil(this.scroller.clientHeight / this.height) + 2 * OVERSCAN;
    const from = Math.max(0, Math.min(first, this.items.length));
    return [from, Math.min(this.items.length, from + lines * this.columns)];
  }

  /** Brings a row into view and into the document. @param {number} index */
  reveal(index) {
    this.active = Math.max(0, Math.min(index, this.items.length - 1));
    const line = Math.floor(this.active / this.columns);
    const top = this.body.offsetTop + line * this.height;
    const bottom = top + this.height - this.scroller.clientHeight;
    if (this.scroller.scrollTop > top - this.body.offsetTop) {
      this.scroller.scrollTop = top - this.body.offsetTop;
    } else if (this.scroller.scrollTop < bottom) this.scroller.scrollTop = bottom;
    this.draw();
  }

  /** The drawn row of an index. @param {number} index */
  row(index) {
    const item = this.items[index];
    return item === undefined ? undefined : this.drawn.get(this.look.key(item));
  }

  /** @param {number[]} wanted indexes in order */
  #place(wanted) {
    /** @type {Map<string, HTMLElement>} */
    const next = new Map();
    let before = this.body.firstElementChild;
    for (const index of wanted) {
      const item = this.items[index];
      if (item === undefined) continue;
      const key = this.look.key(item);
      const row = this.drawn.get(key) ?? this.look.make();
      next.set(key, row);
      if (row === before) before = before.nextElementSibling;
      else this.body.insertBefore(row, before);
      const column = index % this.columns;
      const line = (index - column) / this.columns;
      row.style.transform = `translate(${column * 100}%, ${line * this.height}px)`;
      this.look.fill(row, item, index);
    }
    for (const [key, row] of this.drawn) if (!next.has(key)) row.remove();
    this.drawn = next;
  }
}
