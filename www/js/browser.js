// browser.js: the list of nodes of a place: heading, rows or tiles, what is chosen, and what stands
// there instead of rows. What can be done with nodes is handed in; it asks the server nothing.
import { clone, find, h, icon, say, setIcon, words } from "./dom.js";
import { fullMoment, kindOf, moment, size } from "./format.js";
import { onLanguage, t, tn } from "./i18n.js";
import { Listing } from "./listing.js";
import { Hand } from "./hand.js";
import { openMenu } from "./menu.js";
import { Rows } from "./rows.js";
import { Selection } from "./select.js";

/** @typedef {import("./api.js").Node} Node */
/** @typedef {import("./api.js").Sort} Sort */
/** @typedef {import("./i18n.js").Key} Key */
/** @typedef {import("./menu.js").Action} Action */
/**
 * A place whose nodes can be listed.
 * @typedef {import("./listing.js").Source & {
 *   kind: "disk" | "trash" | "share",
 *   title: () => string,
 *   folder: string | null,
 *   date?: Key,
 *   empty: {icon: string, title: Key, text: Key},
 *   addressOf: (node: Node) => string,
 *   note?: Key,
 *   thumb: (node: Node, size: "small" | "medium" | "large") => string,
 * }} Place
 * `folder`: where uploads and pasted nodes go, null if nowhere; `date`: what the date means.
 */
/**
 * What the page does with nodes.
 * @typedef {object} Deeds
 * @property {(nodes: Node[], place: Place) => Action[]} actions what a menu offers
 * @property {(node: Node, place: Place) => void} open
 * @property {(key: string, nodes: Node[], event: KeyboardEvent) => boolean} key true: it was for us
 * @property {(nodes: Node[], target: string) => void} move dropped on a folder
 * @property {(place: Place) => Action[]} tools what the heading offers
 * @property {(node: Node, place: Place) => string | null} get where its bytes are
 */

/** Rows from the end at which the next page is asked for. */
const MORE_ROWS = 120;
/** How long a newcomer is marked. */
const FRESH_MS = 2_500;
/** How often the list is drawn while items go on arriving. */
const ARRIVALS_MS = 200;
/** @type {Readonly<Record<Sort, Key>>} */
const SORT_NAMES = Object.freeze({
  name: "files.name",
  size: "files.size",
  modified: "files.modified",
});
/** Media types of which the server makes small pictures: of others it is not asked for one. */
const PICTURED = new Set(["image/jpeg", "image/png", "image/gif", "image/webp", "image/bmp"]);

export class Browser {
  /** @param {HTMLElement} root the element with the parts of a list @param {Deeds} deeds */
  constructor(root, deeds) {
    this.root = root;
    this.deeds = deeds;
    this.grid = find("#grid", root);
    this.scroller = find("#scroller", root);
    this.selection = new Selection();
    /** @type {Place | null} */
    this.place = null;
    /** @type {Set<string>} */
    this.fresh = new Set();
    /** @type {Set<string>} what a cut or a move under way concerns; shown paler */
    this.faint = new Set();
    this.onDraw = () => {};
    /** @type {Place | null} whose tools the heading has */
    this.toolsOf = null;
    this.frame = 0;
    this.timer = 0;
    this.drawnAt = -Infinity;
    this.listing = new Listing((soon) => (soon ? this.#later() : this.draw()));
    this.rows = new Rows(this.scroller, find("#rows", root), {
      key: (/** @type {Node} */ node) => node.id,
      make: () => clone("#row"),
      fill: (row, node, index) => this.#fill(row, node, index),
    });
    this.hand = new Hand(this);
    this.#listen();
    this.setView(remembered());
    onLanguage(() => this.draw());
  }

  /** The nodes that are chosen, in the order of the list. @returns {Node[]} */
  chosen() {
    return this.listing.nodes.filter((node) => this.selection.has(node.id));
  }

  /** What a key or a button is about: what is chosen, else the row that has the focus. */
  subject() {
    const chosen = this.chosen();
    const node = this.listing.nodes[this.rows.active];
    return chosen.length > 0 ? chosen : node ? [node] : [];
  }

  /** @param {Place} place */
  async open(place) {
    this.place = place;
    this.selection.clear();
    this.rows.active = 0;
    this.scroller.scrollTop = 0;
    await this.listing.open(place);
  }

  /** Shows an item that was just made. @param {Node} node */
  arrived(node) {
    this.fresh.add(node.id);
    setTimeout(() => this.fresh.delete(node.id), FRESH_MS);
    this.listing.add(node);
  }

  /** Takes items out. @param {string[]} ids */
  removed(ids) {
    this.selection.drop(ids);
    this.listing.remove(new Set(ids));
  }

  /** @param {"list" | "tiles"} view */
  setView(view) {
    this.grid.dataset.view = view;
    try {
      localStorage.setItem("view", view);
    } catch {
      // Storage may be forbidden; the choice lasts as long as the page.
    }
    const button = find("#view-mode", this.root);
    setIcon(find("svg", button), view === "list" ? "tiles" : "list");
    button.setAttribute("aria-label", t(view === "list" ? "files.as_tiles" : "files.as_list"));
    button.title = button.getAttribute("aria-label") ?? "";
    this.rows.draw();
  }

  /** Draws again after the choice has changed, and says how many. */
  choose() {
    this.rows.draw();
    this.#drawChosen();
    const { size: n } = this.selection;
    if (n > 0) say(tn("files.chosen", n));
  }

  /** Gives the focus to a row. @param {number} index */
  focus(index) {
    this.rows.reveal(index);
    this.rows.row(this.rows.active)?.focus({ preventScroll: true });
  }

  /** Draws before the next frame, however many items arrive until then; while they go on arriving,
   * only so often, for each time costs whoever types a part of a frame. */
  #later() {
    if (this.timer !== 0 || this.frame !== 0) return;
    const rest = this.drawnAt + ARRIVALS_MS - performance.now();
    if (rest > 0) {
      this.timer = window.setTimeout(() => {
        this.timer = 0;
        this.#later();
      }, rest);
    } else this.frame = requestAnimationFrame(() => this.draw());
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.drawnAt = performance.now();
    const { listing, place } = this;
    const { state, nodes } = listing;
    if (!place) return;
    this.root.toggleAttribute("data-home", place.folder !== null);
    const held = this.grid.contains(document.activeElement);
    const empty = state === "ready" && nodes.length === 0;
    this.#drawHeading(place);
    find("#loading", this.root).hidden = state !== "loading";
    find("#empty", this.root).hidden = !empty;
    find("#failed", this.root).hidden = state !== "failed";
    find("#more-failed", this.root).hidden = state !== "more-failed";
    this.grid.hidden = state === "loading" || state === "failed" || empty;
    this.grid.setAttribute(
      "aria-rowcount",
      listing.next === null ? String(nodes.length + 1) : "-1",
    );
    this.root.setAttribute("aria-busy", String(state === "loading"));
    if (state === "failed") find("#failed-why").textContent = words(listing.error);
    if (empty) this.#drawEmpty(place);
    this.rows.set(nodes);
    this.#drawChosen();
    if (held && !this.grid.contains(document.activeElement)) this.#refocus();
    this.#moreIfNear();
    this.onDraw();
  }

  /** The focused row has gone: its neighbour takes over. */
  #refocus() {
    if (this.grid.hidden) find("#folder-name", this.root).focus();
    else this.focus(this.rows.active);
  }

  /** @param {Place} place */
  #drawEmpty(place) {
    const { icon: name, title, text } = place.empty;
    setIcon(find("#empty svg.kind-big", this.root), name);
    find("#empty h2", this.root).textContent = t(title);
    find("#empty p", this.root).textContent = t(text);
    find("#empty [data-pick]", this.root).hidden = place.folder === null;
  }

  /** @param {Place} place */
  #drawHeading(place) {
    const { listing } = this;
    const name = place.title();
    find("#folder-name", this.root).textContent = name;
    this.grid.setAttribute("aria-label", t("files.list", { folder: name }));
    const n = listing.nodes.length;
    const known = listing.state !== "loading" && listing.state !== "failed";
    find("#count", this.root).textContent = !known
      ? ""
      : listing.next === null
        ? tn("files.count", n)
        : t("files.count_more", { n });
    for (const head of this.grid.querySelectorAll("[data-sort]")) {
      const sort = /** @type {Sort} */ (head.getAttribute("data-sort"));
      const on = sort === listing.sort && place.sorts.includes(sort);
      const way = listing.direction === "asc" ? "ascending" : "descending";
      head.setAttribute("aria-sort", on ? way : "none");
      const button = /** @type {HTMLButtonElement} */ (find("button", head));
      button.disabled = !place.sorts.includes(sort);
      if (sort === "modified") {
        find("span", button).textContent = t(place.date ?? "files.modified");
      }
    }
    find("#sort-by", this.root).hidden = place.sorts.length === 0;
    const about = find("#place-note", this.root);
    about.hidden = !place.note;
    about.textContent = place.note ? t(place.note) : "";
    this.#drawTools(place);
  }

  /** @param {Place} place */
  #drawTools(place) {
    const tools = this.deeds.tools(place);
    const bar = find("#place-tools", this.root);
    const wanted = tools.map((tool) => tool.label).join("\n");
    if (this.toolsOf === place && bar.dataset.of === wanted) return;
    this.toolsOf = place;
    bar.dataset.of = wanted;
    bar.replaceChildren(
      ...tools.map((tool) =>
        h(
          "button",
          {
            type: "button",
            class: tool.danger ? "quiet danger" : "quiet",
            "aria-label": tool.label,
            id: tool.icon === "new-folder" ? "make-folder" : null,
            onclick: tool.run,
          },
          icon(tool.icon),
          h("span", { text: tool.label }),
        ),
      ),
    );
  }

  /** The bar of what can be done with what is chosen. */
  #drawChosen() {
    const nodes = this.chosen();
    const bar = find("#chosen", this.root);
    const any = nodes.length > 0 && this.place !== null;
    this.root.toggleAttribute("data-choosing", any);
    bar.hidden = !any;
    this.#drawAll(nodes.length);
    if (!any || !this.place) return;
    find("#chosen-count", bar).textContent = tn("files.chosen", nodes.length);
    const actions = this.deeds.actions(nodes, this.place);
    find("#chosen-actions", bar).replaceChildren(
      ...actions.map((action) =>
        h(
          "button",
          {
            type: "button",
            class: action.danger ? "bar-button danger" : "bar-button",
            title: action.label,
            "aria-label": action.label,
            onclick: action.run,
          },
          icon(action.icon),
          h("span", { text: action.label }),
        ),
      ),
    );
  }

  /** @param {number} n how many are chosen */
  #drawAll(n) {
    const all = /** @type {HTMLInputElement} */ (find("#choose-all", this.root));
    all.checked = n > 0 && n === this.listing.nodes.length;
    all.indeterminate = n > 0 && n < this.listing.nodes.length;
  }

  /** @param {HTMLElement} row @param {Node} node @param {number} index */
  #fill(row, node, index) {
    const { place } = this;
    if (!place) return;
    const kind = kindOf(node);
    const folder = node.kind === "folder";
    const chosen = this.selection.has(node.id);
    row.setAttribute("aria-rowindex", String(index + 2)); // the heading is the first
    row.setAttribute("aria-selected", String(chosen));
    row.dataset.index = String(index);
    row.dataset.id = node.id;
    row.dataset.kind = kind;
    row.tabIndex = index === this.rows.active ? 0 : -1;
    row.draggable = place.kind === "disk";
    row.classList.toggle("fresh", this.fresh.has(node.id));
    row.classList.toggle("faint", this.faint.has(node.id));
    const box = /** @type {HTMLInputElement} */ (find(".check-one", row));
    box.checked = chosen;
    box.setAttribute("aria-label", t("files.choose_one", { name: node.name }));
    this.#fillPicture(row, node, kind, place);
    const name = /** @type {HTMLAnchorElement} */ (find(".name", row));
    if (name.textContent !== node.name) name.textContent = node.name;
    name.title = node.name;
    name.href = folder ? place.addressOf(node) : (this.deeds.get(node, place) ?? location.hash);
    find(".star", row).toggleAttribute("hidden", !node.favourite);
    find(".size", row).textContent = folder ? "" : size(node.size);
    const time = /** @type {HTMLTimeElement} */ (find("time", row));
    const ms = place.kind === "trash" ? (node.trashed_ms ?? node.modified_ms) : node.modified_ms;
    time.textContent = moment(ms, Date.now());
    time.dateTime = new Date(ms).toISOString();
    time.title = fullMoment(ms);
    this.#fillActions(row, node, place);
  }

  /** @param {HTMLElement} row @param {Node} node @param {string} kind @param {Place} place */
  #fillPicture(row, node, kind, place) {
    const sign = find("svg.kind", row);
    setIcon(sign, `kind-${kind}`);
    sign.setAttribute("aria-label", t(/** @type {Key} */ (`kind.${kind}`)));
    const picture = /** @type {HTMLImageElement} */ (find("img.thumb", row));
    const url =
      node.kind === "file" && PICTURED.has(node.media_type ?? "")
        ? place.thumb(node, this.grid.dataset.view === "tiles" ? "medium" : "small")
        : "";
    if (picture.dataset.url === url) return;
    picture.dataset.url = url;
    picture.classList.remove("shown"); // not `hidden`: such are never loaded
    picture.onload = () => picture.classList.add("shown");
    if (url) picture.src = url;
    else picture.removeAttribute("src");
  }

  /** @param {HTMLElement} row @param {Node} node @param {Place} place */
  #fillActions(row, node, place) {
    const get = /** @type {HTMLAnchorElement} */ (find(".get", row));
    const url = this.deeds.get(node, place);
    get.hidden = url === null;
    get.href = url ?? "#";
    get.setAttribute("aria-label", t("files.download", { name: node.name }));
    find(".more", row).setAttribute("aria-label", t("files.more", { name: node.name }));
  }

  #moreIfNear() {
    const { listing, rows } = this;
    const [, last] = rows.range();
    if (listing.state === "ready" && last + MORE_ROWS >= listing.nodes.length) listing.more();
  }

  #sortMenu() {
    const { listing, place } = this;
    const sorts = place?.sorts ?? [];
    openMenu(
      sorts.map((sort) => ({
        label: t(SORT_NAMES[sort]),
        icon: listing.direction === "asc" ? "up" : "way",
        checked: sort === listing.sort,
        run: () => listing.sortBy(sort),
      })),
      find("#sort-by", this.root),
      t("files.sort"),
    );
  }

  #listen() {
    const { root, scroller, listing, grid } = this;
    scroller.addEventListener("scroll", () => this.#moreIfNear(), { passive: true });
    for (const head of grid.querySelectorAll("[data-sort]")) {
      find("button", head).addEventListener("click", () => {
        listing.sortBy(/** @type {Sort} */ (head.getAttribute("data-sort")));
      });
    }
    find("#sort-by", root).addEventListener("click", () => this.#sortMenu());
    find("#view-mode", root).addEventListener("click", () => {
      this.setView(grid.dataset.view === "tiles" ? "list" : "tiles");
    });
    find("#reload", root).addEventListener("click", () => listing.reload());
    find("#reload-more", root).addEventListener("click", () => listing.more());
    find("#choose-none", root).addEventListener("click", () => {
      this.selection.clear();
      this.choose();
      this.focus(this.rows.active);
    });
    find("#choose-all", root).addEventListener("change", (event) => {
      if (/** @type {HTMLInputElement} */ (event.target).checked) this.hand.all();
      else this.hand.none();
    });
  }
}

/** The view chosen before. @returns {"list" | "tiles"} */
function remembered() {
  try {
    return localStorage.getItem("view") === "tiles" ? "tiles" : "list";
  } catch {
    return "list"; // storage may be forbidden
  }
}
