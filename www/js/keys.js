// keys.js: the page's shortcuts and the sheet that lists them. Letters alone can be switched off,
// for those whose speech or hands would press them by chance.
import { h } from "./dom.js";
import { openDialog } from "./dialogs.js";
import { t } from "./i18n.js";

/** @typedef {import("./i18n.js").Key} Key */

/** @type {readonly (readonly [string, Key])[]} */
const SHEET = Object.freeze([
  ["/", "keys.search"],
  ["?", "help.title"],
  ["↑ ↓ ← →", "keys.walk"],
  ["Shift + ↑ ↓", "keys.range"],
  ["Space", "keys.toggle"],
  ["Ctrl + A", "files.choose_all"],
  ["Esc", "files.choose_none"],
  ["Enter", "deed.open"],
  ["Shift + F10", "keys.menu"],
  ["A … Z", "keys.jump"],
  ["F2", "deed.rename"],
  ["Del", "deed.trash"],
  ["Ctrl + Z", "app.undo"],
  ["Ctrl + X", "keys.cut"],
  ["Ctrl + C", "keys.copy"],
  ["Ctrl + V", "keys.paste"],
  ["Shift + M", "deed.move"],
  ["Shift + S", "deed.share"],
  ["Shift + N", "files.new_folder"],
  ["Shift + U", "keys.upload"],
  ["Shift + V", "keys.view"],
]);

/** Whether letters alone are shortcuts. */
function lettersOn() {
  try {
    return localStorage.getItem("letters") !== "off";
  } catch {
    return true; // storage may be forbidden
  }
}

/** @param {boolean} on */
function setLetters(on) {
  try {
    if (on) localStorage.removeItem("letters");
    else localStorage.setItem("letters", "off");
  } catch {
    // The choice lasts as long as the sheet is open.
  }
}

/** Shows the sheet. */
export function showHelp() {
  if (document.querySelector("dialog[open]")) return;
  const rows = SHEET.map(([keys, text]) =>
    h(
      "div",
      {},
      h(
        "dt",
        {},
        ...keys
          .split(" + ")
          .flatMap((key, index) => [index > 0 ? " + " : "",
            h("kbd", { text: key === "Space" ? t("keys.space") : key }),
          ]),
      ),
      h("dd", { text: t(text) }),
    ),
  );
  const letters = h("input", { type: "checkbox", onchange: () => setLetters(letters.checked) });
  letters.checked = lettersOn();
  openDialog(
    { id: "help-sheet", title: t("help.title"), wide: true },
    h("dl", { class: "keys" }, ...rows),
    h("label", { class: "check" }, letters, h("span", { t: "help.letters" })),
  );
}

/**
 * @param {Record<string, () => void>} commands key, with `Shift+` before it or not, -> what it does
 */
export function listenToKeys(commands) {
  document.addEventListener("keydown", (event) => {
    const at = event.target instanceof Element ? event.target : null;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.defaultPrevented || at?.closest("input:not([type=checkbox]), textarea, select"))
      return;
    if (document.querySelector("dialog[open], :popover-open") || !lettersOn()) return;
    const letter = event.shiftKey && /^[a-z]$/i.test(event.key);
    const run = commands[letter ? `Shift+${event.key.toUpperCase()}` : event.key];
    if (!run) return;
    event.preventDefault();
    run();
  });
}
