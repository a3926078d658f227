// transfers.js: the panel that shows the queue of uploads. Decides nothing: upload.js does.
import { clone, find, say, setIcon, words } from "./dom.js";
import { kindOf, left, size } from "./format.js";
import { onLanguage, t, tn } from "./i18n.js";
import { Rows } from "./rows.js";
import { settled } from "./upload.js";

/** @typedef {import("./upload.js").Item} Item */
/** @typedef {import("./upload.js").Queue} Queue */

/** The panel is drawn at most this often; faster numbers cannot be read. */
const DRAW_MS = 200;
/** More endings than this within one drawing are read out as a number, not one by one. */
const SAID_MAX = 2;

/** What is shown first. @type {Readonly<Record<import("./upload.js").State, number>>} */
const RANK = Object.freeze({
  asking: 0, sending: 1, failed: 2, waiting: 2, queued: 3, done: 4, skipped: 4, cancelled: 4,
});

/** @param {Item} item @param {number} now */
function status(item, now) {
  switch (item.state) {
    case "queued": return t("transfer.queued");
    case "asking": return t("transfer.asking");
    case "skipped": return t("transfer.skipped");
    case "cancelled": return t("transfer.cancelled");
    case "failed": return words(item.error, "upload");
    case "waiting": {
      const n = Math.max(1, Math.ceil((item.retryAt - now) / 1000));
      return t("transfer.waiting", { why: words(item.error, "upload"), n });
    }
    case "done": {
      const name = item.node?.name ?? item.name;
      const renamed = item.conflict === "rename" && name !== item.name;
      return renamed ? t("transfer.renamed", { name })
        : t("transfer.done", { size: size(item.file.size) });
    }
    default: return sending(item);
  }
}

/** @param {Item} item */
function sending(item) {
  if (item.sent >= item.file.size) return t("transfer.storing");
  const parts = [t("transfer.sending", { sent: size(item.sent), size: size(item.file.size) })];
  if (item.speed > 0) {
    parts.push(t("transfer.speed", { size: size(item.speed) }));
    parts.push(left((item.file.size - item.sent) / item.speed));
  }
  return parts.join(" · ");
}

/** @param {HTMLElement} row @param {Item} item @param {number} now */
function fill(row, item, now) {
  row.dataset.id = String(item.id);
  row.dataset.state = item.state;
  row.dataset.kind = kindOf(item);
  setIcon(find("svg.kind", row), `kind-${kindOf(item)}`);
  const name = find(".name", row);
  name.textContent = item.name;
  name.title = item.name;
  find(".status", row).textContent = status(item, now);
  const progress = /** @type {HTMLProgressElement} */ (find("progress", row));
  progress.value = item.file.size === 0 ? 0 : item.sent / item.file.size;
  progress.setAttribute("aria-label", item.name);
  progress.hidden = item.state !== "sending";
  const again = settled(item);
  const button = find("button", row);
  button.hidden = item.state === "done";
  const label = t(again ? "transfer.retry" : "transfer.cancel", { name: item.name });
  button.setAttribute("aria-label", label);
  setIcon(find("svg", button), again ? "retry" : "close");
}

export class Panel {
  /** @param {Queue} queue @param {() => number} now the queue's clock */
  constructor(queue, now) {
    this.queue = queue;
    this.panel = find("#transfers");
    /** @type {Item[]} endings not yet read out */
    this.ended = [];
    this.timer = 0;
    this.rows = new Rows(find("#transfer-scroller"), find("#transfer-rows"), {
      key: (/** @type {Item} */ item) => String(item.id),
      make: () => clone("#transfer"),
      fill: (row, item) => fill(row, item, now()),
    });
    this.#listen();
    this.fold(false);
  }

  /** Takes note of a change of one item. @param {Item} item */
  changed(item) {
    if (item.state === "done" || item.state === "failed") this.ended.push(item);
    this.#later();
  }

  /** @param {boolean} shut */
  fold(shut) {
    this.panel.dataset.fold = shut ? "shut" : "open";
    const button = find("#transfer-fold");
    button.setAttribute("aria-expanded", String(!shut));
    button.setAttribute("aria-label", t(shut ? "transfer.unfold" : "transfer.fold"));
    this.rows.later();
  }

  #later() {
    if (this.timer === 0) this.timer = window.setTimeout(() => this.#draw(), DRAW_MS);
  }

  #draw() {
    const { items } = this.queue;
    this.timer = 0;
    this.panel.hidden = items.length === 0;
    this.rows.set([...items].sort((a, b) => RANK[a.state] - RANK[b.state] || a.id - b.id));
    this.#drawTotals();
    this.#speak();
    if (items.some((item) => item.state === "waiting")) this.#later(); // its seconds run down
  }

  /** @param {string} state */
  #count(state) {
    return this.queue.items.filter((item) => item.state === state).length;
  }

  #headline() {
    const open = this.queue.items.filter((item) => !settled(item)).length;
    const [asking, failed] = [this.#count("asking"), this.#count("failed")];
    const done = this.#count("done");
    if (asking > 0) return tn("transfer.asking", asking);
    if (open > 0) return tn("transfer.running", open);
    if (failed > 0) return tn("transfer.failed", failed);
    return done > 0 ? tn("transfer.finished", done) : t("transfer.nothing");
  }

  #drawTotals() {
    const { items } = this.queue;
    const open = items.some((item) => !settled(item));
    let [sent, whole, speed] = [0, 0, 0];
    for (const item of items) {
      if (settled(item) && item.state !== "done") continue;
      sent += item.sent;
      whole += item.file.size;
      speed += item.speed;
    }
    const bar = /** @type {HTMLProgressElement} */ (find("#transfer-total"));
    bar.value = whole === 0 ? 0 : sent / whole;
    bar.hidden = !open;
    find("#transfer-title").textContent = this.#headline();
    find("#transfer-rest").textContent = open && speed > 0
      ? `${t("transfer.speed", { size: size(speed) })} · ${left((whole - sent) / speed)}` : "";
    find("#transfer-cancel").hidden = !open;
    find("#transfer-retry").hidden = open || this.#count("failed") === 0;
    const old = items.some((item) => settled(item) && item.state !== "failed");
    find("#transfer-clear").hidden = !old;
  }

  /** Tells those who listen how things ended. */
  #speak() {
    if (this.ended.length === 0) return;
    const list = this.ended;
    this.ended = [];
    say(list.length > SAID_MAX ? this.#headline() : list.map((item) => {
      const name = item.node?.name ?? item.name;
      return item.state === "done" ? t("transfer.said_done", { name })
        : t("transfer.said_failed", { name, why: words(item.error, "upload") });
    }).join(" "));
  }

  /** The cancel or retry button of a row. @param {Event} event */
  #press(event) {
    const button = event.target instanceof Element ? event.target.closest("button") : null;
    const row = button?.closest("[data-id]");
    const id = row instanceof HTMLElement ? Number(row.dataset.id) : 0;
    const item = this.queue.items.find((one) => one.id === id);
    if (!item) return;
    if (settled(item)) this.queue.retry(item);
    else this.queue.cancel(item);
  }

  #listen() {
    const { queue, panel } = this;
    const turn = () => this.fold(panel.dataset.fold !== "shut");
    find("#transfer-fold").addEventListener("click", turn);
    find("#transfer-cancel").addEventListener("click", () => queue.cancelAll());
    find("#transfer-retry").addEventListener("click", () => {
      for (const item of queue.items) if (item.state === "failed") queue.retry(item);
    });
    find("#transfer-clear").addEventListener("click", () => {
      queue.clear();
      this.#draw();
    });
    find("#transfer-rows").addEventListener("click", (event) => this.#press(event));
    onLanguage(() => {
      this.#draw();
      this.fold(panel.dataset.fold === "shut");
    });
  }
}
