// deeds.js: what can be done with nodes of one's own disk: which deeds are offered where, what they
// ask of the server, what is told afterwards, and how it is undone.
import * as api from "./api.js";
import { askConflict, askFolder, confirm } from "./dialogs.js";
import { askPlace } from "./picker.js";
import { note, say, words } from "./dom.js";
import { t, tn } from "./i18n.js";
import { editName } from "./rename.js";
import { addressOf } from "./trail.js";

/** @typedef {import("./api.js").Node} Node */
/** @typedef {import("./api.js").Result} Result */
/** @typedef {import("./browser.js").Place} Place */
/** @typedef {import("./browser.js").Browser} Browser */
/** @typedef {import("./menu.js").Action} Action */

/** Nodes one request may name. */
const BATCH_MAX = 1000;

/**
 * Sends a batch in pieces the server takes.
 * @param {string[]} ids @param {(ids: string[]) => Promise<Result[]>} send
 */
async function inBatches(ids, send) {
  /** @type {Result[]} */
  const results = [];
  for (let from = 0; from < ids.length; from += BATCH_MAX) {
    results.push(...(await send(ids.slice(from, from + BATCH_MAX))));
  }
  return results;
}

/** @param {Result[]} results */
const done = (results) => results.filter((one) => one.error === null);

/** @param {readonly Node[]} nodes */
const ids = (nodes) => nodes.map((node) => node.id);

/** What is being cut or copied. @type {{nodes: Node[], cut: boolean}} */
let clipboard = { nodes: [], cut: false };

export class Deeds {
  constructor() {
    /** @type {Browser | null} */
    this.browser = null;
    /** Called after the used space may have changed. */
    this.onSpace = () => {};
  }

  get #list() {
    if (!this.browser) throw new Error("the deeds have no list yet");
    return this.browser;
  }

  /** @param {Place} place @returns {Action[]} */
  tools(place) {
    if (place.kind === "trash") {
      if (this.#list.listing.nodes.length === 0) return [];
      return [{ label: t("trash.empty"), icon: "trash", danger: true, run: () => this.#empty() }];
    }
    if (place.folder === null) return [];
    const folder = place.folder;
    return [
      { label: t("files.new_folder"), icon: "new-folder", run: () => this.makeFolder(folder) },
    ];
  }

  /** @param {Node} node @param {Place} place */
  get(node, place) {
    return node.kind === "folder" || place.kind === "trash" ? null : api.downloadUrl(node.id);
  }

  /** @param {Node[]} nodes @param {Place} place @returns {Action[]} */
  actions(nodes, place) {
    if (place.kind === "trash") return this.#trashActions(nodes);
    const [one] = nodes;
    const single = nodes.length === 1 && one ? one : null;
    const starred = nodes.every((node) => node.favourite);
    /** @type {(Action | null)[]} */
    const list = [
      single && {
        label: t("deed.open"),
        icon: single.kind === "folder" ? "files" : "eye",
        keys: "Enter",
        run: () => this.open(single, place),
      },
      { label: t("deed.download"), icon: "download", run: () => download(nodes) },
      { label: t("deed.share"), icon: "share", keys: "⇧S", run: () => this.share(nodes) },
      {
        label: t(starred ? "deed.unstar" : "deed.star"),
        icon: starred ? "star-full" : "star",
        run: () => this.star(nodes, !starred),
      },
      single && {
        label: t("deed.rename"),
        icon: "rename",
        keys: "F2",
        apart: true,
        run: () => this.rename(single),
      },
      { label: t("deed.move"), icon: "move", keys: "⇧M", run: () => this.moveTo(nodes) },
      { label: t("deed.copy"), icon: "copy", run: () => this.copyTo(nodes) },
      single === null || place.folder !== null
        ? null
        : {
            label: t("deed.show"),
            icon: "files",
            run: () => location.assign(addressOf(single.parent ?? api.ROOT)),
          },
      {
        label: t("deed.trash"),
        icon: "trash",
        keys: "Del",
        danger: true,
        apart: true,
        run: () => this.trash(nodes),
      },
    ];
    return list.filter((action) => action !== null);
  }

  /** @param {Node[]} nodes @returns {Action[]} */
  #trashActions(nodes) {
    return [
      { label: t("deed.restore"), icon: "restore", run: () => this.restore(nodes) },
      { label: t("deed.purge"), icon: "trash", danger: true, run: () => this.#purge(nodes) },
    ];
  }

  /** A key pressed on a row.
   * @param {string} key @param {Node[]} nodes @param {KeyboardEvent} event */
  key(key, nodes, event) {
    const place = this.#list.place;
    const [one] = nodes;
    if (!place || !one || place.kind === "share") return false;
    const command = event.ctrlKey || event.metaKey;
    if (place.kind === "trash") {
      if (key === "Delete") this.#purge(nodes);
      return key === "Delete";
    }
    if (key === "F2") this.rename(one);
    else if (key === "Delete" || (key === "Backspace" && event.metaKey)) this.trash(nodes);
    else if (command && key === "x") this.take(nodes, true);
    else if (command && key === "c") this.take(nodes, false);
    else if (command || event.altKey) return false;
    else if (key === "S" && event.shiftKey) this.share(nodes);
    else if (key === "M" && event.shiftKey) this.moveTo(nodes);
    else return false;
    return true;
  }

  /** @param {Node} node @param {Place} place */
  async open(node, place) {
    if (place.kind === "trash") return note(t("trash.closed"));
    if (node.kind === "folder") return location.assign(place.addressOf(node));
    const { openPreview } = await import("./preview/preview.js");
    openPreview(node, this.#list.listing.nodes, {
      url: (one, inline) => api.downloadUrl(one.id, inline),
      thumb: place.thumb,
      share: (one) => this.share([one]),
    });
  }

  /** @param {string} parent */
  makeFolder(parent) {
    askFolder(parent, (node) => {
      if (this.#list.place?.folder === parent) this.#list.arrived(node);
      say(t("folder.made", { name: node.name }));
    });
  }

  /** @param {Node[]} nodes */
  async share(nodes) {
    const { openShare } = await import("./share-dialog.js");
    openShare(nodes);
  }

  /** @param {Node[]} nodes @param {boolean} on */
  async star(nodes, on) {
    await tell(async () => {
      for (const node of nodes) {
        await api.star(node.id, on);
        this.#list.listing.replace({ ...node, favourite: on });
      }
      if (!on && location.hash.startsWith("#/favourites")) this.#list.removed(ids(nodes));
      note(tn(on ? "deed.starred" : "deed.unstarred", nodes.length));
    });
  }

  /** @param {Node} node */
  rename(node) {
    editName(this.#list, node, async (name) => {
      const fresh = await api.rename(node.id, name);
      this.#renamed(fresh);
      note(t("deed.renamed", { name: fresh.name }), {
        label: t("app.undo"),
        run: () => tell(async () => this.#renamed(await api.rename(node.id, node.name))),
      });
    });
  }

  /** @param {Node} node */
  #renamed(node) {
    if (this.#list.place?.sorts.length) this.#list.arrived(node);
    else this.#list.listing.replace(node);
  }

  /** @param {Node[]} nodes @param {boolean} cut */
  take(nodes, cut) {
    clipboard = { nodes, cut };
    this.#list.faint = new Set(cut ? ids(nodes) : []);
    this.#list.rows.draw();
    note(tn(cut ? "deed.cut_taken" : "deed.copy_taken", nodes.length));
  }

  /** Puts what was cut or copied into a folder. @param {string} folder */
  async paste(folder) {
    const { nodes, cut } = clipboard;
    if (nodes.length === 0) return;
    if (!cut) return this.#copy(nodes, folder);
    clipboard = { nodes: [], cut: false };
    this.#list.faint.clear();
    await this.move(nodes, folder);
  }

  /** @param {Node[]} nodes */
  async moveTo(nodes) {
    const title = tn("deed.move_title", nodes.length);
    const place = await askPlace({ title, go: "deed.move_here", not: new Set(ids(nodes)) });
    if (place) await this.move(nodes, place.id);
  }

  /** @param {Node[]} nodes */
  async copyTo(nodes) {
    const title = tn("deed.copy_title", nodes.length);
    const place = await askPlace({ title, go: "deed.copy_here" });
    if (place) await this.#copy(nodes, place.id);
  }

  /** @param {Node[]} nodes @param {string} parent */
  async #copy(nodes, parent) {
    await tell(async () => {
      const results = await inBatches(ids(nodes), (some) => api.copy(some, parent));
      for (const { node } of results) {
        if (node && this.#list.place?.folder === parent) this.#list.arrived(node);
      }
      this.#report(results, "deed.copied");
      this.onSpace();
    });
  }

  /** @param {Node[]} nodes @param {string} target a folder, or `trash` */
  async move(nodes, target) {
    if (target === "trash") return this.trash(nodes);
    await tell(async () => {
      const from = new Map(nodes.map((node) => [node.id, node.parent ?? api.ROOT]));
      const results = await inBatches(ids(nodes), (some) => api.move(some, target));
      const taken = results.filter((one) => one.error?.code === "name_taken");
      const settled = taken.length === 0 ? results : await this.#moveTaken(results, taken, target);
      this.#moved(settled, target);
      const gone = done(settled).map((one) => one.id);
      this.#report(
        settled,
        "deed.moved",
        gone.length === 0
          ? undefined
          : {
              label: t("app.undo"),
              run: () => this.#moveBack(gone, from),
            },
      );
    });
  }

  /** Some names are taken there. */
  #moveTaken(
    /** @type {Result[]} */ results,
    /** @type {Result[]} */ taken,
    /** @type {string} */ target,
  ) {
    return new Promise((/** @type {(results: Result[]) => void} */ resolve) => {
      const text = tn("conflict.move", taken.length);
      askConflict({ text, replace: false, many: false }, async (answer) => {
        const again =
          answer === "keep"
            ? await api.move(
                taken.map((one) => one.id),
                target,
                "rename",
              )
            : [];
        const rest = results.filter((one) => !taken.includes(one));
        resolve(rest.concat(again));
      });
    });
  }

  /** @param {Result[]} results @param {string} target */
  #moved(results, target) {
    const here = this.#list.place;
    const moved = done(results);
    if (here?.folder === target) for (const { node } of moved) node && this.#list.arrived(node);
    else if (here?.folder) this.#list.removed(moved.map((one) => one.id));
    else for (const { node } of moved) if (node) this.#list.listing.replace(node);
  }

  /** @param {string[]} gone @param {Map<string, string>} from */
  async #moveBack(gone, from) {
    await tell(async () => {
      for (const parent of new Set(from.values())) {
        const some = gone.filter((id) => from.get(id) === parent);
        if (some.length === 0) continue;
        const results = await inBatches(some, (part) => api.move(part, parent, "rename"));
        this.#moved(results, parent);
      }
      note(t("app.undone"));
    });
  }

  /** @param {Node[]} nodes */
  async trash(nodes) {
    await tell(async () => {
      const results = await inBatches(ids(nodes), api.trash);
      const gone = done(results).map((one) => one.id);
      this.#list.removed(gone);
      this.onSpace();
      this.#report(
        results,
        "deed.trashed",
        gone.length === 0
          ? undefined
          : {
              label: t("app.undo"),
              run: () => this.#untrash(gone),
            },
      );
    });
  }

  /** @param {string[]} gone */
  async #untrash(gone) {
    await tell(async () => {
      const results = await inBatches(gone, api.restore);
      const here = this.#list.place?.folder;
      for (const { node } of results) {
        if (node && here && (node.parent ?? api.ROOT) === here) this.#list.arrived(node);
      }
      this.onSpace();
      this.#report(results, "deed.restored");
    });
  }

  /** @param {Node[]} nodes */
  async restore(nodes) {
    await tell(async () => {
      const results = await inBatches(ids(nodes), api.restore);
      this.#list.removed(done(results).map((one) => one.id));
      this.onSpace();
      this.#report(results, "deed.restored");
    });
  }

  /** @param {Node[]} nodes */
  async #purge(nodes) {
    const title = tn("trash.purge_title", nodes.length);
    if (!(await confirm({ title, text: t("trash.forever"), go: "deed.purge", danger: true })))
      return;
    await tell(async () => {
      const results = await inBatches(ids(nodes), api.purge);
      this.#list.removed(done(results).map((one) => one.id));
      this.onSpace();
      this.#report(results, "deed.purged");
    });
  }

  async #empty() {
    const about = { title: t("trash.empty_title_ask"), text: t("trash.forever"), danger: true };
    if (!(await confirm({ ...about, go: "trash.empty" }))) return;
    await tell(async () => {
      await api.emptyTrash();
      await this.#list.listing.reload();
      this.onSpace();
      note(t("trash.emptied"));
    });
  }

  /**
   * Tells how a batch went: how many, or how many not and why.
   * @param {Result[]} results @param {string} told the text for what went well
   * @param {{label: string, run: () => unknown}} [action]
   */
  #report(results, told, action) {
    const well = done(results).length;
    const bad = results.find((one) => one.error !== null);
    if (results.length === 0) return;
    if (!bad?.error) return note(tn(told, well), action);
    const why = words(new api.ApiError(400, bad.error.code));
    note(tn("deed.partly", results.length - well, { why }), action);
  }
}

/** Does something and tells if it fails. @param {() => Promise<unknown>} act */
async function tell(act) {
  try {
    await act();
  } catch (error) {
    note(words(error));
  }
}

/** Lets the browser fetch nodes: one file as it is, everything else as an archive.
 * @param {readonly Node[]} nodes */
function download(nodes) {
  const [one] = nodes;
  const file = nodes.length === 1 && one?.kind === "file";
  const name = nodes.length === 1 && one ? `${one.name}.zip` : "fastdisk.zip";
  const link = document.createElement("a");
  link.href = file ? api.downloadUrl(one.id) : api.zipUrl(ids(nodes), name);
  link.download = file ? one.name : name;
  link.click();
}
