// table.js: a table that is loaded page by page. Knows nothing of what its rows show.
import { h, note, words } from "../dom.js";

/** @typedef {import("../i18n.js").Key} Key */

/** The column of what can be done stays in sight. @param {Key} key */
const head = (key) =>
  h("th", { scope: "col", t: key, class: key === "files.actions" ? "acts" : null });

/**
 * A table that is loaded page by page.
 * @template T
 * @param {Key[]} heads
 * @param {(cursor: string | null) => Promise<{items: T[], next: string | null}>} load
 * @param {(item: T) => HTMLElement} row
 */
export function table(heads, load, row) {
  const body = h("tbody", {});
  const more = h("button", { type: "button", class: "quiet", t: "app.more", hidden: true });
  /** @type {string | null} */
  let next = null;
  const fill = async (/** @type {boolean} */ fresh) => {
    try {
      const page = await load(fresh ? null : next);
      const rows = page.items.map(row);
      if (fresh) body.replaceChildren(...rows);
      else body.append(...rows);
      next = page.next;
      more.hidden = next === null;
    } catch (error) {
      note(words(error));
    }
  };
  more.addEventListener("click", () => fill(false));
  const box = h(
    "div",
    { class: "stack" },
    h(
      "div",
      { class: "table-box", tabindex: 0, role: "region", tLabel: "nav.admin" },
      h(
        "table",
        { class: "table" },
        h("thead", {}, h("tr", {}, ...heads.map(head))),
        body,
      ),
    ),
    more,
  );
  return { box, reload: () => fill(true) };
}
