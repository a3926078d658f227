// rename.js: a name that is edited where it stands: in the row, without a dialogue.
import { find, h, say, words } from "./dom.js";
import { t } from "./i18n.js";

/** @typedef {import("./api.js").Node} Node */

/**
 * Puts an input in the place of a row's name. Enter and leaving it send the name, Escape does not.
 * @param {import("./browser.js").Browser} browser
 * @param {Node} node
 * @param {(name: string) => Promise<unknown>} send
 */
export function editName(browser, node, send) {
  const index = browser.listing.nodes.findIndex((one) => one.id === node.id);
  if (index < 0) return;
  browser.rows.reveal(index);
  const row = browser.rows.row(index);
  if (!row || row.querySelector(".rename")) return;
  const name = find(".name", row);
  const input = h("input", {
    class: "rename",
    value: node.name,
    maxlength: 255,
    spellcheck: "false",
    autocomplete: "off",
    "aria-label": t("deed.rename_label", {
      name: node.name,
    }),
  });
  const draggable = row.draggable;
  let over = false;
  const close = (/** @type {boolean} */ refocus) => {
    if (over) return;
    over = true;
    row.draggable = draggable;
    input.remove();
    name.hidden = false;
    if (refocus) browser.focus(browser.listing.nodes.findIndex((one) => one.id === node.id));
  };
  const commit = async (/** @type {boolean} */ refocus) => {
    const wanted = input.value.trim();
    if (over || wanted === node.name || wanted === "") return close(refocus);
    try {
      await send(wanted);
      close(refocus);
    } catch (error) {
      input.setAttribute("aria-invalid", "true");
      input.title = words(error);
      say(words(error));
      if (!refocus) close(false);
      else showWhy(row, input, words(error));
    }
  };
  input.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.isComposing) return; // the Enter that ends an input method's word
    if (event.key === "Enter") commit(true);
    if (event.key === "Escape") close(true);
  });
  for (const kind of ["click", "dblclick", "pointerdown"]) {
    input.addEventListener(kind, (event) => event.stopPropagation());
  }
  input.addEventListener("blur", () => commit(false));
  row.draggable = false;
  name.hidden = true;
  name.after(input);
  input.focus();
  const dot = node.kind === "file" ? node.name.lastIndexOf(".") : -1;
  input.setSelectionRange(0, dot > 0 ? dot : node.name.length);
}

/** @param {HTMLElement} row @param {HTMLInputElement} input @param {string} text */
function showWhy(row, input, text) {
  row.querySelector(".rename-why")?.remove();
  const why = h("span", { class: "rename-why", role: "alert", text });
  input.after(why);
  const clear = () => why.remove();
  input.addEventListener("input", clear, { once: true });
  input.addEventListener("blur", clear, { once: true });
}
