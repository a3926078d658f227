// i18n.js: the pages' language. Texts stand in i18n/{en,zh}.js; only the language in use is loaded.

/** @typedef {keyof typeof import("./i18n/en.js").default} Key */
/** @typedef {Record<Key, string>} Texts */
/** @typedef {"en" | "zh"} Language */

/** Each language in its own name. @type {Readonly<Record<Language, string>>} */
export const LANGUAGES = Object.freeze({ en: "English", zh: "中文" });

/** Attribute that holds a key -> attribute that receives the text ("" is the content). */
const PLACES = Object.freeze({
  "data-t": "",
  "data-t-label": "aria-label",
  "data-t-title": "title",
  "data-t-placeholder": "placeholder",
});

/** @type {Language} */
let current = "en";
/** @type {Texts} */
let texts;
/** @type {Set<() => void>} */
const listeners = new Set();

/** @param {string | null | undefined} code @returns {Language | null} */
function known(code) {
  const short = (code ?? "").slice(0, 2).toLowerCase();
  return short === "en" || short === "zh" ? short : null;
}

/** The language chosen before, else the browser's first one we have, else English. */
function preferred() {
  let stored = null;
  try {
    stored = known(localStorage.getItem("language"));
  } catch {
    // Storage may be forbidden; the choice then lasts as long as the page.
  }
  return stored ?? navigator.languages.map(known).find((code) => code !== null) ?? "en";
}

/** @param {Language} code */
async function load(code) {
  const module = code === "zh" ? await import("./i18n/zh.js") : await import("./i18n/en.js");
  texts = module.default;
  current = code;
  document.documentElement.lang = code === "zh" ? "zh-CN" : "en";
}

/** The language in use. */
export function language() {
  return current;
}

/** True if there is a text for this key. @param {string} key @returns {key is Key} */
export function has(key) {
  return Object.hasOwn(texts, key);
}

/**
 * The text for a key with its {placeholders} filled in.
 * @param {Key} key
 * @param {Record<string, string | number>} [values]
 */
export function t(key, values = {}) {
  return texts[key].replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

/**
 * The text for a count: picks `<base>_one` or `<base>_other`.
 * @param {string} base
 * @param {number} n
 * @param {Record<string, string | number>} [values]
 */
export function tn(base, n, values = {}) {
  const form = new Intl.PluralRules(current).select(n) === "one" ? "one" : "other";
  return t(/** @type {Key} */ (`${base}_${form}`), { ...values, n: n.toLocaleString(current) });
}

/** Fills every marked place at or under a root. @param {ParentNode} root */
export function translate(root) {
  for (const [mark, attribute] of Object.entries(PLACES)) {
    for (const element of root.querySelectorAll(`[${mark}]`)) {
      const text = t(/** @type {Key} */ (element.getAttribute(mark)));
      if (attribute === "") element.textContent = text;
      else element.setAttribute(attribute, text);
    }
  }
}

/**
 * Calls back after each change of language, for text that code has put in place.
 * @param {() => void} listener
 */
export function onLanguage(listener) {
  listeners.add(listener);
}

/** Changes the language of the page without losing what it is doing. @param {Language} code */
export async function setLanguage(code) {
  await load(code);
  try {
    localStorage.setItem("language", code);
  } catch {
    // As above: the choice lasts as long as the page.
  }
  translate(document);
  for (const listener of listeners) listener();
}

await load(preferred());
