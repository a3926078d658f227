// markdown.js: previews Markdown. A library reads it; its tokens are built as a few known elements.
// Markup inside stays text, images are named but not fetched, links lead only to where they say.
import { h } from "../dom.js";
import { t } from "../i18n.js";
import { colour, cutNote, readText } from "./text.js";

const LIBRARY = "../../vendor/marked/marked.esm.js";
/** Schemes a link may have. */
const SCHEMES = new Set(["http:", "https:", "mailto:"]);
/** Tokens inside one another that are built; deeper ones are shown as they were written. */
const DEPTH_MAX = 40;

/** @typedef {any} Token */

/** Entities that the reader leaves in text for the writer of HTML that we do not have. */
const ENTITIES = Object.freeze(
  /** @type {Record<string, string>} */ ({
    "&amp;": "&",
    "&lt;": "<",
    "&gt;": ">",
    "&quot;": '"',
    "&#39;": "'",
  }),
);

/** @param {string} text */
function plain(text) {
  return text.replace(/&(?:amp|lt|gt|quot|#39);/g, (one) => ENTITIES[one] ?? one);
}

/** A link's address, if it is of a harmless kind. @param {string} href */
function safeHref(href) {
  try {
    const url = new URL(href);
    return SCHEMES.has(url.protocol) ? url.href : null;
  } catch {
    return null; // relative: it would lead into our own pages
  }
}

/** @param {Token} token @param {number} depth */
function link(token, depth) {
  const href = safeHref(token.href);
  const inside = inline(token.tokens ?? [], depth);
  if (href === null) return h("span", { class: "blocked", title: String(token.href) }, ...inside);
  return h("a", { href, rel: "noopener noreferrer nofollow", target: "_blank" }, ...inside);
}

/** @param {Token[]} tokens @param {number} depth @returns {(globalThis.Node | string)[]} */
function inline(tokens, depth) {
  return tokens.map((token) => {
    if (depth > DEPTH_MAX) return token.raw;
    const children = () => inline(token.tokens ?? [], depth + 1);
    switch (token.type) {
      case "strong":
        return h("strong", {}, ...children());
      case "em":
        return h("em", {}, ...children());
      case "del":
        return h("del", {}, ...children());
      case "codespan":
        return h("code", { text: plain(token.text) });
      case "br":
        return h("br");
      case "link":
        return link(token, depth + 1);
      case "image":
        return h("span", {
          class: "blocked",
          text: t("preview.image", { name: token.text || token.href }),
        });
      case "escape":
        return plain(token.text);
      case "text":
        return token.tokens ? span(children()) : plain(token.text);
      default:
        return token.raw; // markup, too, is shown as it was written
    }
  });
}

/** @param {(globalThis.Node | string)[]} children */
function span(children) {
  const fragment = document.createDocumentFragment();
  fragment.append(...children);
  return fragment;
}

/** @param {Token} token @param {number} depth */
function list(token, depth) {
  const items = token.items.map((/** @type {Token} */ item) => {
    const box = h("input", {
      type: "checkbox",
      disabled: true,
      "aria-label": item.text.slice(0, 60),
    });
    box.checked = item.checked === true;
    return h("li", {}, ...(item.task ? [box, " "] : []), ...blocks(item.tokens, depth + 1));
  });
  return token.ordered
    ? h("ol", { start: Number(token.start) || 1 }, ...items)
    : h("ul", {}, ...items);
}

/** @param {Token} token @param {number} depth */
function table(token, depth) {
  const cells = (/** @type {"th" | "td"} */ tag, /** @type {Token[]} */ row) =>
    h("tr", {}, ...row.map((cell) => h(tag, {}, ...inline(cell.tokens, depth + 1))));
  return h(
    "table",
    {},
    h("thead", {}, cells("th", token.header)),
    h("tbody", {}, ...token.rows.map((/** @type {Token[]} */ row) => cells("td", row))),
  );
}

/** @param {Token[]} tokens @param {number} depth @returns {(globalThis.Node | string)[]} */
function blocks(tokens, depth) {
  return tokens.map((token) => {
    if (depth > DEPTH_MAX) return token.raw;
    switch (token.type) {
      case "space":
      case "def":
        return "";
      case "heading": {
        // One below the preview's own heading.
        const tag = /** @type {"h3"} */ (`h${Math.min(6, token.depth + 2)}`);
        return h(tag, {}, ...inline(token.tokens, depth + 1));
      }
      case "paragraph":
        return h("p", {}, ...inline(token.tokens, depth + 1));
      case "blockquote":
        return h("blockquote", {}, ...blocks(token.tokens, depth + 1));
      case "list":
        return list(token, depth);
      case "table":
        return table(token, depth);
      case "hr":
        return h("hr");
      case "code":
        return h(
          "pre",
          { tabindex: 0, "data-language": token.lang ?? "" },
          h("code", { text: token.text }),
        );
      case "text":
        return token.tokens ? span(inline(token.tokens, depth + 1)) : plain(token.text);
      default:
        return h("p", { text: token.raw }); // markup: shown, not run
    }
  });
}

/** Colours the code of a document, after it is shown. @param {HTMLElement} root */
async function colourAll(root) {
  for (const pre of root.querySelectorAll("pre[data-language]")) {
    const language = pre.getAttribute("data-language") ?? "";
    const code = pre.firstElementChild;
    if (/^[\w+-]+$/.test(language))
      code?.replaceChildren(...(await colour(code.textContent ?? "", language)));
  }
}

/** @type {import("./preview.js").Previewer} */
export async function show(node, source, stage) {
  const [{ marked }, { text, cut }] = await Promise.all([
    import(LIBRARY),
    readText(source.url(node, true), node.size),
  ]);
  const body = h("article", { class: "markdown" }, ...blocks(marked.lexer(text, { gfm: true }), 0));
  await colourAll(body);
  stage.append(
    h(
      "div",
      { class: "paper", tabindex: 0, role: "region", "aria-label": node.name },
      cut ? cutNote(node.size) : null,
      body,
    ),
  );
}
