// prefs.js: the switches for language and theme, on every page that has a place for them.
import { loadIcons } from "./dom.js";
import { LANGUAGES, language, onLanguage, setLanguage, t, translate } from "./i18n.js";

/** @typedef {import("./i18n.js").Key} Key */

/** @type {readonly (readonly [string, Key])[]} */
const THEMES = Object.freeze([
  ["system", "prefs.system"], ["light", "prefs.light"], ["dark", "prefs.dark"],
]);

/** The theme in use. */
function theme() {
  return document.documentElement.dataset.theme ?? "system";
}

/** @param {string} chosen */
function setTheme(chosen) {
  const root = document.documentElement;
  if (chosen === "system") delete root.dataset.theme;
  else root.dataset.theme = chosen;
  try {
    if (chosen === "system") localStorage.removeItem("theme");
    else localStorage.setItem("theme", chosen);
  } catch {
    // Storage may be forbidden; the choice lasts as long as the page.
  }
}

let rows = 0;

/** All rows of one choice on the page show the same. @param {string} name @param {string} value */
function showChosen(name, value) {
  for (const row of document.querySelectorAll(`fieldset[data-choice="${name}"]`)) {
    for (const input of row.querySelectorAll("input")) input.checked = input.value === value;
  }
}

/**
 * A row of choices of which one is on.
 * @param {{name: string, title: Key, choices: readonly (readonly [string, Key | null, string?])[],
 *   chosen: string, onChoose: (value: string) => void}} group
 */
function choice({ name, title, choices, chosen, onChoose }) {
  const set = document.createElement("fieldset");
  set.className = "choice";
  set.dataset.choice = name;
  rows += 1; // a page may have two: of one name, they would be one row with one choice
  const group = `${name}-${rows}`;
  const legend = document.createElement("legend");
  legend.dataset.t = title;
  set.append(legend);
  for (const [value, key, text] of choices) {
    const label = document.createElement("label");
    const input = document.createElement("input");
    input.type = "radio";
    input.name = group;
    input.value = value;
    input.checked = value === chosen;
    input.addEventListener("change", () => {
      showChosen(name, value);
      onChoose(value);
    });
    const span = document.createElement("span");
    if (key) span.dataset.t = key;
    else {
      span.textContent = text ?? value;
      span.lang = value === "zh" ? "zh-CN" : value;
    }
    label.append(input, span);
    set.append(label);
  }
  return set;
}

/** Puts the switches into a place. @param {HTMLElement} place */
export function showPrefs(place) {
  const languages = Object.entries(LANGUAGES).map(
    ([code, name]) => /** @type {const} */ ([code, null, name]),
  );
  place.append(
    choice({
      name: "language", title: "prefs.language", choices: languages, chosen: language(),
      onChoose: (code) => setLanguage(code === "zh" ? "zh" : "en"),
    }),
    choice({
      name: "theme", title: "prefs.theme", choices: THEMES, chosen: theme(), onChoose: setTheme,
    }),
  );
  translate(place);
}

/** Makes the page readable: its language is known and its texts are in place. @param {Key} title */
export function ready(title) {
  const retitle = () => {
    document.title = `${t(title)} · ${t("app.name")}`;
  };
  translate(document);
  retitle();
  onLanguage(retitle);
  document.documentElement.dataset.ready = "";
  // Until now the page was not to be seen, and what cannot be seen gets no focus.
  const first = document.querySelector("[autofocus]");
  if (first instanceof HTMLElement && document.activeElement === document.body) first.focus();
  loadIcons();
}
