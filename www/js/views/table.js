// table.js: a table that is loaded page by page. Knows nothing of what its rows show.
import { h, note, words } from "../dom.js";
import { t } from "../i18n.js";

/** @typedef {import("../i18n.js").Key} Key */

/** The column of what can be done stays in sight. @param {Key} key */
const head = (key) => {
  const acts = key === "files.actions";
  return h("th", { scope: "col", role: "columnheader", t: key, class: acts ? "acts" : null });
};

/**
 * Says what each cell is: where the page is narrow a row stands as a list of its cells, which is no
 * table any more by its looks. @param {HTMLElement} line @param {Key[]} heads
 */
function labelled(line, heads) {
  line.setAttribute("role", "row");
  for (const [index, cell] of [...line.children].entries()) {
    cell.setAttribute("role", cell.tagName === "TH" ? "rowheader" : "cell");
    const key = heads[index];
    if (key) cell.setAttribute("data-head", t(key));
  }
  return line;
}

/**
 * A table that is loaded page by page.
 * @template T
 * @param {Key[]} heads
 * @param {(cursor: string | null) => Promise<{items: T[], next: string | null}>} load
 * @param {(item: T) => HTMLElement} row
 */
export function table(heads, load, row) {
  const body = h("tbody", { role: "rowgroup" });
  const more = h("button", { type: "button", class: "quiet", t: "app.more", hidden: true });
  /** @type {string | null} */
  let next = null;
  const fill = async (/** @type {boolean} */ fresh) => {
    try {
      const page = await load(fresh ? null : next);
      const rows = page.items.map((item) => labelled(row(item), heads));
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
        { class: "table", role: "table" },
        h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...heads.map(head))),
        body,
      ),
    ),
    more,
  );
  return { box, reload: () => fill(true) };
}
