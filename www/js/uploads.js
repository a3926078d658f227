// uploads.js: the uploads of the files page: what comes in by drop, paste and choice goes into the
// queue, the queue into the panel and into memory, and what it asks is asked.
import { chosen, dropped } from "./intake.js";
import { askConflict } from "./dialogs.js";
import { find, note, say, words } from "./dom.js";
import { OURS } from "./hand.js";
import { t, tn } from "./i18n.js";
import { Keep } from "./keep.js";
import { give, send } from "./sender.js";
import { Panel } from "./transfers.js";
import { Queue, settled } from "./upload.js";
import { makeWays } from "./way.js";

/** @typedef {import("./upload.js").Item} Item */
/** @typedef {import("./upload.js").Found} Found */
/**
 * @typedef {object} Home
 * @property {() => {id: string, name: string}} here where files go now
 * @property {(node: import("./api.js").Node, path: string) => void} arrived
 */

export class Uploads {
  /** @param {Home} home */
  constructor(home) {
    this.home = home;
    this.queue = new Queue({
      send,
      give,
      now: () => performance.now(),
      later: (call, ms) => setTimeout(call, ms),
      random: Math.random,
    });
    this.panel = new Panel(
      this.queue,
      () => performance.now(),
      (item) => this.#again(item),
    );
    this.keep = new Keep(this.queue);
    this.asking = false;
    this.queue.onChange = (item) => this.#changed(item);
    this.#listen();
    this.#takeDrops();
  }

  /** @param {Item} item */
  #changed(item) {
    this.panel.changed(item);
    this.keep.change(item);
    if (item.state === "done" && item.node) this.home.arrived(item.node, item.path);
    if (item.state === "asking") this.#askNext();
  }

  #askNext() {
    const item = this.queue.asking();
    if (!item || this.asking) return;
    this.asking = true;
    const text = t("conflict.text", { folder: item.place, name: item.name });
    askConflict({ text, replace: true, many: true }, (answer, forAll) => {
      this.asking = false;
      this.queue.answer(item, answer, forAll);
      this.#askNext();
    });
  }

  /** Takes in files, slice by slice, and folders that hold none.
   * @param {AsyncGenerator<Found[]>} slices @param {readonly string[]} empty filled meanwhile */
  async take(slices, empty = []) {
    const { id, name } = this.home.here();
    const to = { parent: id, place: name, batch: this.queue.batch() };
    let added = 0;
    try {
      for await (const slice of slices) {
        if (added === 0) this.panel.fold(false);
        added += this.queue.add(slice, to);
      }
    } catch {
      note(t("files.unreadable_drop"));
    }
    if (added > 0) say(tn("transfer.said_added", added));
    await this.#makeEmpty(id, empty);
  }

  /** Files make their folders on the way; these have none.
   * @param {string} parent @param {readonly string[]} ways */
  async #makeEmpty(parent, ways) {
    const errors = await makeWays(parent, ways, (top) => this.home.arrived(top, ""));
    if (errors.length > 0) note(words(errors[0])); // one for all: the others say mostly the same
  }

  /** @param {File[]} files */
  paste(files) {
    return this.take(chosen(files));
  }

  /** Whether something would be lost with the page. */
  get busy() {
    return this.queue.items.some((item) => !settled(item) && item.state !== "lost");
  }

  /** Takes over what an earlier page had not finished. @param {string} user */
  async restore(user) {
    const count = await this.keep.restore(user);
    if (count === 0) return;
    for (const item of this.queue.items) if (item.state === "lost") await this.#reopen(item, false);
  }

  /** Opens a lost file by its handle.
   * @param {Item} item @param {boolean} ask the user may be asked */
  async #reopen(item, ask) {
    const handle = /** @type {any} */ (item.handle);
    if (!handle) return false;
    try {
      const mode = { mode: "read" };
      const may = ask ? await handle.requestPermission(mode) : await handle.queryPermission(mode);
      return may === "granted" && this.queue.found(item, await handle.getFile());
    } catch {
      return false; // moved or deleted: it is asked for
    }
  }

  /** @param {Item} item */
  async #again(item) {
    if (await this.#reopen(item, true)) return;
    const picker = /** @type {HTMLInputElement} */ (find("#again-picker"));
    picker.onchange = () => {
      const [file] = picker.files ?? [];
      picker.value = "";
      if (file && !this.queue.found(item, file)) note(t("transfer.another", { name: item.name }));
    };
    picker.click();
  }

  #listen() {
    const picker = /** @type {HTMLInputElement} */ (find("#picker"));
    const folder = /** @type {HTMLInputElement} */ (find("#folder-picker"));
    for (const one of [picker, folder]) {
      one.addEventListener("change", async () => {
        const files = [...(one.files ?? [])];
        one.value = "";
        await this.take(chosen(files));
      });
    }
    document.addEventListener("click", (event) => {
      const at = event.target instanceof Element ? event.target.closest("button") : null;
      if (at?.matches("[data-pick]")) picker.click();
      else if (at?.id === "pick-folder") folder.click();
    });
    window.addEventListener("online", () => this.queue.wake());
    window.addEventListener("offline", () => note(t("files.offline")));
    window.addEventListener("beforeunload", (event) => {
      if (this.busy) event.preventDefault();
    });
  }

  #takeDrops() {
    const curtain = find("#drop");
    let depth = 0;
    /** @param {DragEvent} event @param {number} by */
    const move = (event, by) => {
      const types = event.dataTransfer?.types ?? [];
      if (!types.includes("Files") || types.includes(OURS)) return false;
      event.preventDefault();
      depth = Math.max(0, depth + by);
      find("#drop-text").textContent = t("files.drop", { folder: this.home.here().name });
      curtain.hidden = depth === 0;
      return true;
    };
    window.addEventListener("dragenter", (event) => move(event, 1));
    window.addEventListener("dragleave", (event) => move(event, -1));
    window.addEventListener("dragover", (event) => move(event, 0));
    window.addEventListener("drop", (event) => {
      if (!move(event, -depth) || !event.dataTransfer) return;
      /** @type {string[]} */
      const empty = [];
      this.take(dropped(event.dataTransfer, (way) => empty.push(way)), empty);
    });
  }
}
