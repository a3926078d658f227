// hand.js: mouse, touch and keyboard on a list of nodes: choosing, opening, the menu, dragging.
// Decides what a gesture means; the list draws, the deeds act.
import { find } from "./dom.js";
import { t } from "./i18n.js";
import { openMenu } from "./menu.js";

/** @typedef {import("./api.js").Node} Node */
/** @typedef {import("./browser.js").Browser} Browser */

/** What a drag of our own rows is called, so that it is not taken for files from outside. */
export const OURS = "application/x-fastdisk-nodes";
/** A finger that rests this long chooses. */
const LONG_PRESS_MS = 450;
/** A finger that has moved this far scrolls. */
const SLOP_PX = 10;
/** Letters typed within this time belong to one name. */
const TYPING_MS = 700;

/** @param {EventTarget | null} target */
function rowAt(target) {
  const row = target instanceof Element ? target.closest(".row") : null;
  return row instanceof HTMLElement ? row : null;
}

export class Hand {
  /** @param {Browser} browser */
  constructor(browser) {
    this.browser = browser;
    this.touch = false;
    this.pressed = false;
    this.timer = 0;
    this.typed = "";
    this.typedAt = 0;
    /** @type {Node[]} what is being dragged */
    this.dragged = [];
    const { grid } = browser;
    grid.addEventListener("click", (event) => this.#click(event));
    grid.addEventListener("dblclick", (event) => this.#doubleClick(event));
    grid.addEventListener("keydown", (event) => this.#key(event));
    grid.addEventListener("contextmenu", (event) => this.#menu(event));
    grid.addEventListener("focusin", (event) => this.#focus(event));
    grid.addEventListener("pointerdown", (event) => this.#down(event));
    for (const name of ["pointerup", "pointercancel", "pointermove"]) {
      grid.addEventListener(name, (event) => this.#move(/** @type {PointerEvent} */ (event)));
    }
    this.#drags(grid);
  }

  all() {
    const { browser } = this;
    browser.selection.all(browser.listing.nodes.map((node) => node.id));
    browser.choose();
  }

  none() {
    this.browser.selection.clear();
    this.browser.choose();
  }

  /** @param {HTMLElement} row */
  #node(row) {
    return this.browser.listing.nodes[Number(row.dataset.index)];
  }

  /** @param {Node} node */
  #reach(node) {
    const { listing, selection } = this.browser;
    selection.reach(
      listing.nodes.map((one) => one.id),
      node.id,
    );
  }

  /** @param {Node} node */
  #open(node) {
    const { place, deeds } = this.browser;
    if (place) deeds.open(node, place);
  }

  /** @param {MouseEvent} event */
  #click(event) {
    const row = rowAt(event.target);
    const node = row && this.#node(row);
    const at = /** @type {Element} */ (event.target);
    if (!node || at.closest(".get, .rename")) return;
    if (this.pressed) {
      // the end of a long press, which has chosen already
      this.pressed = false;
      event.preventDefault();
      return;
    }
    const { selection } = this.browser;
    const more = at.closest(".more");
    if (more) this.#menuOf(node, more);
    else if (event.shiftKey) this.#reach(node);
    else if (at.closest(".cell-check") || event.ctrlKey || event.metaKey) selection.toggle(node.id);
    else if (this.touch && selection.size > 0) selection.toggle(node.id);
    else if (at.closest("a.name") || this.touch) return this.#follow(event, node);
    else selection.only(node.id);
    if (!more && !at.closest("input")) event.preventDefault();
    this.browser.choose();
  }

  /** A click that opens: a new tab stays the browser's business. */
  #follow(/** @type {MouseEvent} */ event, /** @type {Node} */ node) {
    event.preventDefault();
    this.#open(node);
  }

  /** @param {MouseEvent} event */
  #doubleClick(event) {
    const row = rowAt(event.target);
    const node = row && this.#node(row);
    const plain = !(/** @type {Element} */ (event.target).closest("button, a, input"));
    if (node && plain && !this.touch) this.#open(node);
  }

  /** @param {PointerEvent} event */
  #down(event) {
    this.touch = event.pointerType === "touch";
    this.pressed = false;
    clearTimeout(this.timer);
    const row = rowAt(event.target);
    const node = row && this.#node(row);
    if (!this.touch || !node) return;
    this.startX = event.clientX;
    this.startY = event.clientY;
    this.timer = window.setTimeout(() => {
      this.pressed = true;
      this.browser.selection.toggle(node.id);
      this.browser.choose();
    }, LONG_PRESS_MS);
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const far = Math.hypot(event.clientX - (this.startX ?? 0), event.clientY - (this.startY ?? 0));
    if (event.type !== "pointermove" || far > SLOP_PX) clearTimeout(this.timer);
  }

  /** @param {FocusEvent} event */
  #focus(event) {
    const row = rowAt(event.target);
    const index = Number(row?.dataset.index ?? -1);
    if (index < 0 || index === this.browser.rows.active) return;
    this.browser.rows.active = index;
    this.browser.rows.draw();
  }

  /** @param {MouseEvent} event */
  #menu(event) {
    const row = rowAt(event.target);
    const node = row && this.#node(row);
    if (!node || /** @type {Element} */ (event.target).closest("input")) return;
    event.preventDefault();
    if (this.touch) return; // a long press chooses; the bar below offers the same
    const key = event.button !== 2; // the menu key: the point is of no use
    const box = row.getBoundingClientRect();
    const where = key
      ? { x: box.left + 48, y: box.top + box.height / 2 }
      : { x: event.clientX, y: event.clientY };
    this.#menuOf(node, where);
  }

  /** @param {Node} node @param {{x: number, y: number} | Element} where */
  #menuOf(node, where) {
    const { browser } = this;
    if (!browser.place) return;
    if (!browser.selection.has(node.id)) browser.selection.only(node.id);
    browser.choose();
    const nodes = browser.chosen();
    const label = nodes.length === 1 ? t("files.more", { name: node.name }) : t("files.actions");
    openMenu(browser.deeds.actions(nodes, browser.place), where, label);
  }

  /** @param {string} key @returns {number | null} the row a key leads to */
  #target(key) {
    const { rows, listing, scroller, grid } = this.browser;
    const tiles = grid.dataset.view === "tiles";
    const lines = Math.max(1, Math.floor(scroller.clientHeight / rows.height) - 1);
    const by = /** @type {Record<string, number>} */ ({
      ArrowDown: rows.columns,
      ArrowUp: -rows.columns,
      PageDown: lines * rows.columns,
      PageUp: -lines * rows.columns,
      ...(tiles ? { ArrowRight: 1, ArrowLeft: -1 } : {}),
    })[key];
    if (key === "Home") return 0;
    if (key === "End") return listing.nodes.length - 1;
    return by === undefined ? null : rows.active + by;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const row = rowAt(event.target);
    const node = row && this.#node(row);
    const at = /** @type {HTMLElement} */ (event.target);
    if (!row || !node || at.matches(".rename")) return;
    if (this.#walk(event, node) || this.#inside(event, row, at)) event.preventDefault();
    else if (at === row && this.#act(event, node)) event.preventDefault();
  }

  /** Up, down, and so on; with Shift they choose.
   * @param {KeyboardEvent} event @param {Node} node */
  #walk(event, node) {
    const { browser } = this;
    const index = this.#target(event.key);
    if (index === null || event.altKey) return false;
    browser.selection.anchor ??= node.id;
    browser.focus(index);
    const reached = browser.listing.nodes[browser.rows.active];
    if (event.shiftKey && reached) {
      this.#reach(reached);
      browser.choose();
    } else if (!event.shiftKey && browser.selection.size === 0) browser.selection.anchor = null;
    return true;
  }

  /** Left and right, between a row and its buttons. */
  #inside(
    /** @type {KeyboardEvent} */ event,
    /** @type {HTMLElement} */ row,
    /** @type {HTMLElement} */ at,
  ) {
    if (event.key !== "ArrowRight" && event.key !== "ArrowLeft") return false;
    const stops = [
      row,
      ...["input.check-one", ".get", ".more"].map((one) => find(one, row)),
    ].filter((one) => !one.hidden);
    const from = stops.indexOf(at);
    stops[from + (event.key === "ArrowRight" ? 1 : -1)]?.focus();
    return true;
  }

  /** @param {KeyboardEvent} event @param {Node} node */
  #act(event, node) {
    const { browser } = this;
    const command = event.ctrlKey || event.metaKey;
    if (event.key === "Enter" && !command) this.#open(node);
    else if (event.key === " ") {
      if (event.shiftKey) this.#reach(node);
      else browser.selection.toggle(node.id);
      browser.choose();
    } else if (command && event.key.toLowerCase() === "a") this.all();
    else if (event.key === "Escape" && browser.selection.size > 0) this.none();
    else if (browser.deeds.key(event.key, browser.subject(), event)) return true;
    else if (event.key.length === 1 && !command && !event.altKey && !event.shiftKey)
      return this.#type(event.key);
    else return false;
    return true;
  }

  /** Goes to the next row whose name begins as typed. @param {string} letter */
  #type(letter) {
    const { rows, listing } = this.browser;
    const now = performance.now();
    if ("/?".includes(letter)) return false; // these are the page's
    this.typed = now - this.typedAt > TYPING_MS ? letter : this.typed + letter;
    this.typedAt = now;
    const begin = this.typed.toLowerCase();
    const from = rows.active + (this.typed.length === 1 ? 1 : 0);
    const order = [...listing.nodes.keys()];
    const found = [...order.slice(from), ...order.slice(0, from)].find((index) =>
      listing.nodes[index]?.name.toLowerCase().startsWith(begin),
    );
    if (found !== undefined) this.browser.focus(found);
    return true;
  }

  /** Dragging rows onto folders. @param {HTMLElement} grid */
  #drags(grid) {
    const { browser } = this;
    grid.addEventListener("dragstart", (event) => {
      const row = rowAt(event.target);
      const node = row && this.#node(row);
      if (!node || !event.dataTransfer || browser.place?.kind !== "disk") return;
      if (!browser.selection.has(node.id)) browser.selection.only(node.id);
      browser.choose();
      this.dragged = browser.chosen();
      event.dataTransfer.setData(OURS, String(this.dragged.length));
      event.dataTransfer.effectAllowed = "move";
      const ghost = find("#ghost");
      ghost.textContent = this.dragged.length === 1 ? node.name : String(this.dragged.length);
      event.dataTransfer.setDragImage(ghost, -12, -12);
    });
    document.addEventListener("dragend", () => {
      this.dragged = [];
      for (const one of document.querySelectorAll(".over")) one.classList.remove("over");
    });
    document.addEventListener("dragover", (event) => this.#over(event));
    document.addEventListener("drop", (event) => {
      const place = this.#landing(event);
      if (!place) return;
      event.preventDefault();
      browser.deeds.move(this.dragged, place.id);
      place.element.classList.remove("over");
    });
  }

  /** What a drop here would land in: a folder's row, or anything marked as one. */
  #landing(/** @type {DragEvent} */ event) {
    if (this.dragged.length === 0 || !event.dataTransfer?.types.includes(OURS)) return null;
    const at = event.target instanceof Element ? event.target : null;
    const marked = at?.closest("[data-into]");
    if (marked instanceof HTMLElement) return { element: marked, id: marked.dataset.into ?? "" };
    const row = rowAt(at);
    const node = row && this.#node(row);
    const self = this.dragged.some((one) => one.id === node?.id);
    return row && node?.kind === "folder" && !self ? { element: row, id: node.id } : null;
  }

  /** @param {DragEvent} event */
  #over(event) {
    const place = this.#landing(event);
    for (const one of document.querySelectorAll(".over")) {
      if (one !== place?.element) one.classList.remove("over");
    }
    if (!place || !event.dataTransfer) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "move";
    place.element.classList.add("over");
  }
}
