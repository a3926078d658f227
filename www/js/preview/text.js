// text.js: previews text and code. Long files are shown up to a limit; code is coloured by a
// library that says which words are what, and the words enter the page as text.
import { bytes } from "../api.js";
import { h } from "../dom.js";
import { size } from "../format.js";
import { t } from "../i18n.js";
import { endingOf } from "./preview.js";

const LIBRARY = "../../vendor/highlight/highlight.min.js";
/** More is not read in a preview. */
const SHOWN_BYTES_MAX = 1024 * 1024;
/** More is not coloured: it would hold the page up. */
const COLOURED_MAX = 200_000;
/** Endings whose language the library does not guess by itself. */
const LANGUAGES = Object.freeze(
  /** @type {Record<string, string>} */ ({
    mjs: "javascript",
    jsx: "javascript",
    tsx: "typescript",
    htm: "xml",
    html: "xml",
    svg: "xml",
    vue: "xml",
    h: "c",
    hpp: "cpp",
    cc: "cpp",
    conf: "ini",
    cfg: "ini",
    toml: "ini",
    patch: "diff",
    zsh: "bash",
    yml: "yaml",
    log: "",
    txt: "",
    csv: "",
    tsv: "",
    srt: "",
    vtt: "",
  }),
);

/**
 * The text of a file. What is not UTF-8 is read as GB 18030, usual in Chinese files.
 * @param {Uint8Array} content
 */
export function decode(content) {
  const wide =
    content[0] === 0xff && content[1] === 0xfe
      ? "utf-16le"
      : content[0] === 0xfe && content[1] === 0xff
        ? "utf-16be"
        : null;
  if (wide) return new TextDecoder(wide).decode(content);
  try {
    // A character that the limit has cut in two must not make the rest something else.
    return new TextDecoder("utf-8", { fatal: true }).decode(content, { stream: true });
  } catch {
    return new TextDecoder("gb18030").decode(content);
  }
}

/** @param {string} url @param {number} whole its size */
export async function readText(url, whole) {
  if (whole === 0) return { text: "", cut: false };
  const cut = whole > SHOWN_BYTES_MAX;
  const { bytes: content } = cut ? await bytes(url, 0, SHOWN_BYTES_MAX) : await bytes(url);
  return { text: decode(content), cut };
}

/** What the library finds -> elements. @param {any} node @returns {Node | string} */
function build(node) {
  if (typeof node === "string") return node;
  const children = (node.children ?? []).map(build);
  const scope = String(node.scope ?? "").split(".")[0] ?? "";
  if (!/^[a-z_-]+$/.test(scope)) {
    const plain = document.createDocumentFragment();
    plain.append(...children);
    return plain;
  }
  return h("span", { class: `hl-${scope}` }, ...children);
}

/**
 * Code as elements, coloured if its language is known.
 * @param {string} text @param {string} language
 * @returns {Promise<(globalThis.Node | string)[]>}
 */
export async function colour(text, language) {
  if (language === "" || text.length > COLOURED_MAX) return [text];
  const { default: library } = await import(LIBRARY);
  if (!library.getLanguage(language)) return [text];
  const found = library.highlight(text, { language, ignoreIllegals: true });
  return [build(found._emitter.rootNode)];
}

/** That only the beginning is shown. @param {number} whole */
export function cutNote(whole) {
  return h("p", {
    class: "cut",
    text: t("preview.cut", { shown: size(SHOWN_BYTES_MAX), whole: size(whole) }),
  });
}

/** @type {import("./preview.js").Previewer} */
export async function show(node, source, stage) {
  const { text, cut } = await readText(source.url(node, true), node.size);
  const ending = endingOf(node);
  const language = LANGUAGES[ending] ?? ending;
  const parts = await colour(text, language);
  const code = language !== "";
  stage.append(
    h(
      "div",
      {
        class: code ? "paper code" : "paper",
        tabindex: 0,
        role: "region",
        "aria-label": node.name,
      },
      cut ? cutNote(node.size) : null,
      h("pre", {}, ...parts),
    ),
  );
}
