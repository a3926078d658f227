// picker.js: the question which folder: walks through the folders of one's own disk.
import { list, ROOT } from "./api.js";
import { answers, askFolder, openDialog } from "./dialogs.js";
import { h, icon, words } from "./dom.js";
import { t } from "./i18n.js";

/** @typedef {import("./i18n.js").Key} Key */
/** @typedef {import("./api.js").Crumb} Crumb */

/** Items of a folder that are asked for; folders come first, so these are many folders. */
const ITEMS = 1000;

class Picker {
  /** @param {ReadonlySet<string>} not folders that cannot be chosen */
  constructor(not) {
    this.not = not;
    /** @type {Crumb[]} */
    this.trail = [{ id: ROOT, name: t("files.title") }];
    this.crumbs = h("div", { class: "picker-crumbs" });
    this.box = h("ul", { class: "picker", "aria-live": "polite" });
  }

  /** Where we are. @returns {Crumb} */
  get here() {
    return this.trail.at(-1) ?? { id: ROOT, name: "" };
  }

  /** @param {Crumb[]} trail */
  enter(trail) {
    this.trail = trail;
    this.show();
  }

  /** Makes a folder here and goes into it. */
  make() {
    const { trail } = this;
    askFolder(this.here.id, ({ id, name }) => this.enter([...trail, { id, name }]));
  }

  async show() {
    const { here, trail } = this;
    this.crumbs.replaceChildren(
      ...trail.map((step, index) =>
        h("button", {
          type: "button",
          text: step.name,
          "aria-current": step === here ? "location" : null,
          onclick: () => this.enter(trail.slice(0, index + 1)),
        }),
      ),
    );
    try {
      const page = await list(here.id, { limit: ITEMS });
      if (here === this.here) this.#draw(page.nodes);
    } catch (error) {
      this.box.replaceChildren(h("li", { class: "field-error", text: words(error) }));
    }
  }

  /** @param {import("./api.js").Node[]} nodes */
  #draw(nodes) {
    const folders = nodes.filter((node) => node.kind === "folder" && !this.not.has(node.id));
    const lines = folders.map(({ id, name }) =>
      h(
        "li",
        {},
        h(
          "button",
          {
            type: "button",
            onclick: () => this.enter([...this.trail, { id, name }]),
          },
          icon("kind-folder", "kind"),
          h("span", { text: name }),
        ),
      ),
    );
    if (lines.length === 0) lines.push(h("li", { class: "hint", t: "picker.none" }));
    this.box.replaceChildren(...lines);
  }
}

/**
 * Asks for a folder.
 * @param {{title: string, go: Key, not?: ReadonlySet<string>}} about `not`: cannot be chosen
 * @returns {Promise<Crumb | null>}
 */
export function askPlace({ title, go, not = new Set() }) {
  return new Promise((resolve) => {
    const picker = new Picker(not);
    /** @type {Crumb | null} */
    let chosen = null;
    const bottom = answers(go, () => dialog.close());
    bottom.prepend(
      h(
        "button",
        { type: "button", class: "quiet", onclick: () => picker.make() },
        icon("new-folder"),
        h("span", { t: "files.new_folder" }),
      ),
    );
    const submit = () => {
      chosen = picker.here;
    };
    const parts = [picker.crumbs, picker.box, bottom];
    const form = h("form", { method: "dialog", onsubmit: submit }, ...parts);
    const dialog = openDialog({ id: "picker-dialog", title }, form);
    dialog.addEventListener("close", () => resolve(chosen));
    picker.show();
  });
}
