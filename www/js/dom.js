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

/** How long a passing note stays. */
const NOTE_MS = 6_000;

/** Shows a short note that goes away by itself, and reads it out. @param {string} text */
export function note(text) {
  const place = find("#notes");
  const line = document.createElement("p");
  line.className = "note";
  line.textContent = text;
  place.replaceChildren(line);
  setTimeout(() => line.remove(), NOTE_MS);
}

/** Reads a text out to those who listen, without showing it. @param {string} text */
export function say(text) {
  find("#live").textContent = text;
}
