// dialogs.js: the questions of the files page: a new folder's name, and what to do if one is taken.
import { makeFolder } from "./api.js";
import { find, note, words } from "./dom.js";
import { t } from "./i18n.js";

/** @typedef {import("./upload.js").Answer} Answer */
/** @typedef {import("./upload.js").Item} Item */

/**
 * Asks for a name and makes a folder of it.
 * @param {string} parent
 * @param {(node: import("./api.js").Node) => void} onMade
 */
export function askFolder(parent, onMade) {
  const dialog = /** @type {HTMLDialogElement} */ (find("#new-folder"));
  const form = /** @type {HTMLFormElement} */ (find("form", dialog));
  const input = /** @type {HTMLInputElement} */ (find("input", dialog));
  const error = find("#folder-error");
  form.reset();
  error.textContent = "";
  input.removeAttribute("aria-invalid");
  form.onsubmit = async (event) => {
    event.preventDefault();
    try {
      const node = await makeFolder(parent, input.value.trim());
      dialog.close();
      onMade(node);
      note(t("folder.made", { name: node.name }));
    } catch (thrown) {
      error.textContent = words(thrown);
      input.setAttribute("aria-invalid", "true");
      input.focus();
    }
  };
  dialog.showModal();
}

/**
 * Asks what to do with a file whose name is taken. Closing the question skips the file.
 * @param {Item} item
 * @param {(answer: Answer, forAll: boolean) => void} onAnswer
 */
export function askConflict(item, onAnswer) {
  const dialog = /** @type {HTMLDialogElement} */ (find("#conflict"));
  const all = /** @type {HTMLInputElement} */ (find("#conflict-all"));
  find("#conflict-text").textContent = t("conflict.text", { folder: item.place, name: item.name });
  all.checked = false;
  dialog.returnValue = "";
  dialog.onclose = () => {
    onAnswer(dialog.returnValue === "keep" ? "keep" : "skip", all.checked);
  };
  dialog.showModal();
}

for (const button of document.querySelectorAll("dialog [data-close]")) {
  button.addEventListener("click", () => button.closest("dialog")?.close());
}
