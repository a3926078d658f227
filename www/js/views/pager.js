// pager.js: a list of lines that is loaded page by page, with its own loading, empty and failed
// states. Knows nothing of what the lines show.
import { h, icon, words } from "../dom.js";

/** @typedef {import("../i18n.js").Key} Key */

/**
 * @template T
 * @param {object} about
 * @param {(cursor: string | null) => Promise<{items: T[], next: string | null}>} about.load
 * @param {(item: T, index: number) => HTMLElement} about.draw
 * @param {{icon: string, title: Key, text: Key}} about.empty
 * @param {Key} about.label
 */
export function pager({ load, draw, empty, label }) {
  const list = h("ul", { class: "line-list", tLabel: label, hidden: true });
  const state = h("div", { class: "instead" });
  const skeleton = () =>
    h(
      "div",
      { class: "skeleton", role: "status" },
      h("span", { class: "sr", t: "files.loading" }),
      ...Array.from({ length: 4 }, () => h("i")),
    );
  const more = h("button", { type: "button", class: "quiet", t: "app.more", hidden: true });
  const box = h("div", { class: "stack" }, list, state, more);
  /** @type {string | null} */
  let next = null;
  let count = 0;
  let turn = 0;

  const nothing = () => [
    h("div", { class: "emblem" }, tracks(), icon(empty.icon, "kind-big")),
    h("h2", { t: empty.title }),
    h("p", { t: empty.text }),
  ];
  const broken = (/** @type {unknown} */ error) => [
    h("div", { class: "emblem broken" }, tracks()),
    h("h2", { t: "files.error_title" }),
    h("p", { text: words(error), role: "alert" }),
    h("button", { type: "button", class: "quiet", t: "app.try_again", onclick: () => reload() }),
  ];

  /** @param {boolean} fresh */
  async function fill(fresh) {
    turn += 1;
    const mine = turn;
    try {
      const page = await load(fresh ? null : next);
      if (mine !== turn) return;
      if (fresh) count = 0;
      const lines = page.items.map((item, index) => draw(item, count + index));
      count += lines.length;
      if (fresh) list.replaceChildren(...lines);
      else list.append(...lines);
      next = page.next;
      state.hidden = count > 0;
      state.replaceChildren(...(count > 0 ? [] : nothing()));
    } catch (error) {
      if (mine !== turn) return;
      state.hidden = false;
      state.replaceChildren(...broken(error));
    }
    list.hidden = count === 0;
    more.hidden = next === null;
  }

  /** Loads from the start. */
  async function reload() {
    if (count === 0) {
      state.hidden = false;
      state.replaceChildren(skeleton());
    }
    await fill(true);
  }
  more.addEventListener("click", () => fill(false));
  return { box, reload };
}

/** The emblem's disk. */
function tracks() {
  const svg = icon("tracks", "tracks");
  svg.setAttribute("viewBox", "0 0 800 800");
  return svg;
}
