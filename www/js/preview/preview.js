// preview.js: shows one file large, and leads to the ones before and after it. Which previewer it
// gets depends on its type; each is loaded when it is first needed. What is shown is parsed and
// built as text and elements, never taken over as markup.
import { ApiError } from "../api.js";
import { h, icon, say, words } from "../dom.js";
import { kindOf, size } from "../format.js";
import { t } from "../i18n.js";

/** @typedef {import("../api.js").Node} Node */
/**
 * @typedef {object} Source
 * @property {(node: Node, inline: boolean) => string} url where its bytes are
 * @property {(node: Node, size: "small" | "medium" | "large") => string} thumb
 * @property {(node: Node) => void} [share]
 */
/**
 * @typedef {(node: Node, source: Source, stage: HTMLElement) => Promise<(() => void) | void>}
 *   Previewer builds what is shown, and answers how to end it
 */

/** Raster images that browsers draw themselves; the server's inline list has them all. */
const IMAGES = new Set([
  "image/jpeg",
  "image/png",
  "image/gif",
  "image/webp",
  "image/avif",
  "image/bmp",
]);
/** Files of text, by their endings: the server sees text/plain in most, or nothing. */
const TEXTS = new Set(
  [
    "txt log csv tsv ini conf cfg toml yaml yml json xml svg html htm css js mjs ts tsx jsx rs c h",
    "cpp hpp cc cs go java kt py rb php pl lua sh bash zsh ps1 bat sql swift scala r dart vue tex",
    "srt vtt diff patch makefile dockerfile gitignore env properties gradle",
  ]
    .join(" ")
    .split(" "),
);

/** @param {Node} node */
export function endingOf(node) {
  return node.name.slice(node.name.lastIndexOf(".") + 1).toLowerCase();
}

/** @param {Node} node @returns {Promise<Previewer>} */
async function previewerOf(node) {
  const type = node.media_type ?? "";
  const ending = endingOf(node);
  if (IMAGES.has(type)) return (await import("./image.js")).show;
  if (type === "application/pdf" || ending === "pdf") return (await import("./pdf.js")).show;
  if (ending === "md" || ending === "markdown") return (await import("./markdown.js")).show;
  if (type.startsWith("video/") || type.startsWith("audio/"))
    return (await import("./media.js")).show;
  if (TEXTS.has(ending) || type.startsWith("text/")) return (await import("./text.js")).show;
  if (["mp4", "webm", "mp3", "ogg", "wav", "flac", "m4a"].includes(ending)) {
    return (await import("./media.js")).show;
  }
  return none;
}

/** @type {Previewer} */
async function none(node, source, stage) {
  stage.append(
    h(
      "div",
      { class: "no-preview", "data-kind": kindOf(node) },
      icon(`kind-${kindOf(node)}`, "kind"),
      h("p", { t: "preview.none" }),
      h(
        "a",
        { class: "quiet", href: source.url(node, false), download: node.name },
        icon("download"),
        h("span", { t: "deed.download" }),
      ),
    ),
  );
}

class Preview {
  /** @param {readonly Node[]} files @param {Source} source */
  constructor(files, source) {
    this.files = files;
    this.source = source;
    /** @type {Node | null} */
    this.node = null;
    this.turn = 0;
    /** @type {(() => void) | void} */
    this.end = undefined;
    this.title = h("h2", { id: "preview-title" });
    this.about = h("p", {});
    this.stage = h("div", { class: "body" });
    this.get = h(
      "a",
      { class: "icon-button", download: true, tLabel: "deed.download" },
      icon("download"),
    );
    this.close = this.#button("app.close", "close", "", () => this.dialog.close());
    this.back = this.#button("preview.back", "back", " turn back", () => this.step(-1));
    this.on = this.#button("preview.on", "on", " turn on", () => this.step(1));
    const share = this.#button("deed.share", "share", "", () => {
      if (this.node) this.source.share?.(this.node);
    });
    share.hidden = source.share === undefined;
    const about = { id: "preview", class: "preview", "aria-labelledby": "preview-title" };
    const tools = [this.title, this.about, share, this.get, this.close];
    this.dialog = h(
      "dialog",
      about,
      h("header", { class: "preview-head" }, ...tools),
      h("div", { class: "stage" }, this.back, this.stage, this.on),
    );
    this.dialog.addEventListener("keydown", (event) => this.#key(event));
    this.dialog.addEventListener("close", () => {
      this.turn += 1;
      this.end?.();
      this.dialog.remove();
    });
  }

  /** @param {import("../i18n.js").Key} key @param {string} sign @param {string} style
   * @param {() => void} run */
  #button(key, sign, style, run) {
    const props = { type: "button", class: `icon-button${style}`, tLabel: key, onclick: run };
    return h("button", props, icon(sign));
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const at = event.target instanceof Element ? event.target : null;
    if (at?.closest("video, audio, input, .zoom.near") || event.defaultPrevented) return;
    if (event.key === "ArrowLeft") this.step(-1);
    else if (event.key === "ArrowRight") this.step(1);
  }

  get #at() {
    return this.files.findIndex((one) => one.id === this.node?.id);
  }

  /** @param {number} by */
  step(by) {
    const next = this.files[this.#at + by];
    if (next) this.show(next);
  }

  /** @param {Node} node */
  #drawHead(node) {
    const at = this.#at;
    this.title.textContent = node.name;
    this.about.textContent = `${size(node.size)} · ${at + 1} / ${this.files.length}`;
    this.get.href = this.source.url(node, false);
    this.back.hidden = at <= 0;
    this.on.hidden = at < 0 || at === this.files.length - 1;
    if (!this.dialog.contains(document.activeElement)) this.close.focus();
  }

  /** @param {Node} node */
  async show(node) {
    this.node = node;
    this.turn += 1;
    const { turn } = this;
    this.end?.();
    this.end = undefined;
    this.#drawHead(node);
    this.stage.replaceChildren(
      h(
        "div",
        { class: "skeleton", role: "status" },
        h("span", { class: "sr", t: "preview.loading" }),
      ),
    );
    const fresh = h("div", { class: "body" });
    try {
      const previewer = await previewerOf(node);
      const end = await previewer(node, this.source, fresh);
      if (turn !== this.turn) return end?.();
      this.end = end;
      this.stage.replaceChildren(...fresh.childNodes);
      if (!this.dialog.contains(document.activeElement)) this.close.focus(); // it was in the old
      say(node.name);
    } catch (error) {
      if (turn !== this.turn) return;
      const why = error instanceof ApiError ? words(error) : t("preview.unreadable");
      this.stage.replaceChildren(
        h(
          "div",
          { class: "no-preview", role: "alert" },
          h("p", { text: t("preview.failed", { why }) }),
        ),
      );
    }
  }
}

/**
 * Opens the preview of a node.
 * @param {Node} node
 * @param {readonly Node[]} all the list it stands in
 * @param {Source} source
 */
export function openPreview(node, all, source) {
  const preview = new Preview(
    all.filter((one) => one.kind === "file"),
    source,
  );
  document.body.append(preview.dialog);
  preview.dialog.showModal();
  preview.show(node);
}
