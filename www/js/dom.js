// dom.js: what every view does with the document. Text enters it as text, never as markup.
import { has, t, translate } from "./i18n.js";
import { ApiError, icons } from "./api.js";

const SVG = "http://www.w3.org/2000/svg";

/**
 * The element for a selector, which the page must have.
 * @template {Element} [E=HTMLElement]
 * @param {string} selector
 * @param {ParentNode} [root]
 * @returns {E}
 */
export function find(selector, root = document) {
  const element = root.querySelector(selector);
  if (!element) throw new Error(`the page has no ${selector}`);
  return /** @type {E} */ (element);
}

/** A copy of a template's only element. @param {string} selector @returns {HTMLElement} */
export function clone(selector) {
  const template = /** @type {HTMLTemplateElement} */ (find(selector));
  const copy = /** @type {DocumentFragment} */ (template.content.cloneNode(true));
  translate(copy);
  return /** @type {HTMLElement} */ (copy.firstElementChild);
}

/** Points an icon at another picture of the sprite. @param {Element} svg @param {string} name */
export function setIcon(svg, name) {
  let use = svg.querySelector("use");
  if (!use) {
    use = document.createElementNS(SVG, "use");
    svg.append(use);
  }
  const href = `#icon-${name}`;
  if (use.getAttribute("href") !== href) use.setAttribute("href", href);
}

/**
 * What to tell the user about a failure.
 * @param {unknown} error
 * @param {string} [context] a form whose errors have words of their own
 */
export function words(error, context = "") {
  if (!(error instanceof ApiError)) return t("error.unknown", { code: String(error) });
  const { code, retryAfterMs } = error;
  if (code === "too_many_attempts" && retryAfterMs) {
    return t("error.too_many_attempts_wait", { n: Math.ceil(retryAfterMs / 1000) });
  }
  for (const key of [`error.${context}.${code}`, `error.${code}`]) {
    if (has(key)) return t(key);
  }
  return t(error.status >= 400 && error.status < 500 ? "error.bad_request" : "error.unknown", {
    code,
  });
}

/**
 * @typedef {Record<string, string | number | boolean | null | undefined
 *   | EventListener | ((event: any) => unknown)>} Props
 */

/**
 * Builds an element. Properties are attributes, but: `class`; `text` is its text; `t`, `tLabel`,
 * `tTitle` and `tPlaceholder` are keys of texts; `on…` are listeners; null and false are left out.
 * Children that are strings become text.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Props} [props]
 * @param {...(Node | string | null)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") {
      element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    } else if (name === "text") element.textContent = String(value);
    else if (Object.hasOwn(KEYED, name)) mark(element, name, String(value));
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Property of `h` -> the mark for the translator, and the attribute it fills. */
const KEYED = Object.freeze(/** @type {Record<string, [string, string]>} */ ({
  t: ["data-t", ""],
  tLabel: ["data-t-label", "aria-label"],
  tTitle: ["data-t-title", "title"],
  tPlaceholder: ["data-t-placeholder", "placeholder"],
}));

/** @param {Element} element @param {string} name @param {string} key */
function mark(element, name, key) {
  const [mark, attribute] = KEYED[name] ?? ["", ""];
  element.setAttribute(mark, key);
  const text = t(/** @type {import("./i18n.js").Key} */ (key));
  if (attribute === "") element.textContent = text;
  else element.setAttribute(attribute, text);
}

/** An icon of the sprite. @param {string} name @param {string} [style] */
export function icon(name, style = "icon") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", style);
  svg.setAttribute("aria-hidden", "true");
  setIcon(svg, name);
  return svg;
}

/** Puts the icons into the page, once: each use of one then asks nobody, not even offline. */
export async function loadIcons() {
  try {
    const parsed = new DOMParser().parseFromString(await icons(), "image/svg+xml");
    const sprite = document.adoptNode(parsed.documentElement);
    sprite.setAttribute("class", "sr");
    sprite.setAttribute("aria-hidden", "true");
    document.body.append(sprite);
  } catch {
    // Every control has a name beside its icon; without icons the page is plainer, not broken.
  }
}

/** How long a passing note stays; one with something to do in it stays longer. */
const NOTE_MS = 6_000;
const NOTE_WITH_ACTION_MS = 12_000;

/**
 * Shows a short note that goes away by itself, and reads it out. While the pointer or the focus
 * is on it, it stays.
 * @param {string} text
 * @param {{label: string, run: () => unknown}} [action] such as undoing what the note tells
 */
export function note(text, action) {
  const line = h("div", { class: "note" }, h("p", { text }));
  let timer = 0;
  const close = () => line.remove();
  const wait = () => {
    clearTimeout(timer);
    timer = window.setTimeout(close, action ? NOTE_WITH_ACTION_MS : NOTE_MS);
  };
  if (action) {
    const run = () => {
      close();
      action.run();
    };
    line.append(h("button", { type: "button", class: "note-action", text: action.label,
      onclick: run }));
  }
  for (const name of ["pointerenter", "focusin"]) {
    line.addEventListener(name, () => clearTimeout(timer));
  }
  for (const name of ["pointerleave", "focusout"]) line.addEventListener(name, wait);
  find("#notes").replaceChildren(line);
  wait();
}

/** Reads a text out to those who listen, without showing it. @param {string} text */
export function say(text) {
  find("#live").textContent = text;
}
