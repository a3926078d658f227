// transfers.js: the panel that shows the queue of uploads. Decides nothing: upload.js does.
import { clone, find, say, setIcon, words } from "./dom.js";
import { kindOf, left, size } from "./format.js";
import { onLanguage, t, tn } from "./i18n.js";
import { Rows } from "./rows.js";
import { settled } from "./upload.js";

/** @typedef {import("./upload.js").Item} Item */
/** @typedef {import("./upload.js").State} State */
/** @typedef {import("./upload.js").Queue} Queue */

/** The panel is drawn at most this often; faster numbers cannot be read. */
const DRAW_MS = 200;
/** More endings than this within one drawing are read out as a number, not one by one. */
const SAID_MAX = 2;

/** What is shown first. @type {Readonly<Record<State, number>>} */
const RANK = Object.freeze({
  asking: 0,
  sending: 1,
  checking: 1,
  failed: 2,
  lost: 2,
  waiting: 2,
  paused: 3,
  queued: 4,
  done: 5,
  skipped: 5,
  cancelled: 5,
});
const RANKS = 6;

/** @param {Item} item @param {number} now */
function status(item, now) {
  switch (item.state) {
    case "queued":
      return t("transfer.queued");
    case "asking":
      return t("transfer.asking");
    case "skipped":
      return t("transfer.skipped");
    case "cancelled":
      return t("transfer.cancelled");
    case "paused":
      return t("transfer.paused", { sent: size(item.sent), size: size(item.size) });
    case "lost":
      return t(item.handle ? "transfer.lost_handle" : "transfer.lost");
    case "failed":
      return words(item.error, "upload");
    case "checking":
      return t("transfer.checking", { part: percent(item.checked, item.size) });
    case "waiting": {
      const n = Math.max(1, Math.ceil((item.retryAt - now) / 1000));
      return t("transfer.waiting", { why: words(item.error, "upload"), n });
    }
    case "done": {
      const name = item.node?.name ?? item.name;
      const renamed = item.conflict === "rename" && name !== item.name;
      return renamed
        ? t("transfer.renamed", { name })
        : t("transfer.done", { size: size(item.size) });
    }
    default:
      return sending(item);
  }
}

/** @param {number} part @param {number} whole */
function percent(part, whole) {
  return `${whole === 0 ? 100 : Math.floor((part / whole) * 100)} %`;
}

/** @param {Item} item */
function sending(item) {
  if (item.sent >= item.size) return t("transfer.storing");
  const parts = [t("transfer.sending", { sent: size(item.sent), size: size(item.size) })];
  if (item.speed > 0) {
    parts.push(t("transfer.speed", { size: size(item.speed) }));
    parts.push(left((item.size - item.sent) / item.speed));
  }
  return parts.join(" · ");
}

/** What the first button of a row does. @param {Item} item */
function holding(item) {
  if (
    item.state === "sending" ||
    item.state === "checking" ||
    item.state === "queued" ||
    item.state === "waiting"
  )
    return "pause";
  if (item.state === "paused") return "resume";
  if (item.state === "lost") return "again";
  return item.state === "failed" || item.state === "skipped" || item.state === "cancelled"
    ? "retry"
    : null;
}

const ICONS = Object.freeze({ pause: "pause", resume: "play", again: "play", retry: "retry" });

/** @param {HTMLElement} row @param {Item} item @param {number} now */
function fill(row, item, now) {
  row.dataset.id = String(item.id);
  row.dataset.state = item.state;
  row.dataset.kind = kindOf(item);
  setIcon(find("svg.kind", row), `kind-${kindOf(item)}`);
  const name = find(".name", row);
  name.textContent = item.name;
  name.title = item.path === "" ? item.name : `${item.path}/${item.name}`;
  const badge = find(".badge", row);
  badge.hidden = !item.instant;
  badge.textContent = item.instant ? t("transfer.instant") : "";
  find(".said", row).textContent = status(item, now);
  const progress = /** @type {HTMLProgressElement} */ (find("progress", row));
  const gone = item.state === "checking" ? item.checked : item.sent;
  progress.value = item.size === 0 ? 0 : gone / item.size;
  progress.setAttribute("aria-label", item.name);
  progress.hidden = !["sending", "checking", "paused"].includes(item.state);
  const hold = find("[data-do=hold]", row);
  const what = holding(item);
  hold.hidden = what === null;
  if (what) {
    hold.setAttribute("aria-label", t(`transfer.${what}`, { name: item.name }));
    setIcon(find("svg", hold), ICONS[what]);
  }
  const end = find("[data-do=end]", row);
  end.hidden = settled(item);
  end.setAttribute("aria-label", t("transfer.cancel", { name: item.name }));
  setIcon(find("svg", end), "close");
}

/** What the panel says about all items, from one walk over them. */
class Tally {
  /** @param {readonly Item[]} items */
  constructor(items) {
    /** @type {Partial<Record<State, number>>} */
    this.counts = {};
    this.sent = 0;
    this.whole = 0;
    this.speed = 0;
    this.open = 0;
    this.instant = 0;
    /** @type {Item[][]} */
    const ranks = Array.from({ length: RANKS }, () => []);
    for (const item of items) {
      this.counts[item.state] = (this.counts[item.state] ?? 0) + 1;
      ranks[RANK[item.state]]?.push(item);
      if (item.instant) this.instant += 1;
      const over = settled(item);
      if (!over) this.open += 1;
      if (over && item.state !== "done") continue;
      this.sent += item.sent;
      this.whole += item.size;
      this.speed += item.speed;
    }
    this.order = ranks.flat();
  }

  /** @param {State} state */
  count(state) {
    return this.counts[state] ?? 0;
  }

  headline() {
    const moving = this.open - this.count("paused") - this.count("lost");
    if (this.count("asking") > 0) return tn("transfer.asking", this.count("asking"));
    if (moving > 0) return tn("transfer.running", moving);
    if (this.count("lost") > 0) return tn("transfer.unfinished", this.count("lost"));
    if (this.open > 0) return tn("transfer.held", this.open);
    if (this.count("failed") > 0) return tn("transfer.failed", this.count("failed"));
    return this.count("done") > 0
      ? tn("transfer.finished", this.count("done"))
      : t("transfer.nothing");
  }
}

export class Panel {
  /**
   * @param {Queue} queue
   * @param {() => number} now the queue's clock
   * @param {(item: Item) => void} again asks for the file of an item that has lost it
   */
  constructor(queue, now, again) {
    this.queue = queue;
    this.again = again;
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
    const tally = new Tally(items);
    this.rows.set(tally.order);
    this.#drawTotals(tally);
    this.#speak(tally);
    if (tally.count("waiting") > 0) this.#later(); // its seconds run down
  }

  /** @param {Tally} tally */
  #drawTotals(tally) {
    const open = tally.open > 0;
    const bar = /** @type {HTMLProgressElement} */ (find("#transfer-total"));
    bar.value = tally.whole === 0 ? 0 : tally.sent / tally.whole;
    bar.hidden = !open;
    find("#transfer-title").textContent = tally.headline();
    const rest = find("#transfer-rest");
    if (open && tally.speed > 0) {
      const seconds = (tally.whole - tally.sent) / tally.speed;
      rest.textContent = `${t("transfer.speed", { size: size(tally.speed) })} · ${left(seconds)}`;
    } else rest.textContent = tally.instant > 0 ? tn("transfer.instants", tally.instant) : "";
    const paused = tally.count("paused");
    const failed = tally.count("failed");
    find("#transfer-cancel").hidden = !open;
    find("#transfer-pause").hidden = tally.open === paused + tally.count("lost");
    find("#transfer-resume").hidden = paused === 0;
    find("#transfer-retry").hidden = open || failed === 0;
    find("#transfer-clear").hidden = this.queue.items.length - tally.open - failed === 0;
  }

  /** Tells those who listen how things ended. @param {Tally} tally */
  #speak(tally) {
    if (this.ended.length === 0) return;
    const list = this.ended;
    this.ended = [];
    say(
      list.length > SAID_MAX
        ? tally.headline()
        : list
            .map((item) => {
              const name = item.node?.name ?? item.name;
              return item.state === "done"
                ? t("transfer.said_done", { name })
                : t("transfer.said_failed", { name, why: words(item.error, "upload") });
            })
            .join(" "),
    );
  }

  /** A button of a row. @param {Event} event */
  #press(event) {
    const button = event.target instanceof Element ? event.target.closest("button") : null;
    const row = button?.closest("[data-id]");
    const id = row instanceof HTMLElement ? Number(row.dataset.id) : 0;
    const item = this.queue.items.find((one) => one.id === id);
    if (!item || !(button instanceof HTMLElement)) return;
    if (button.dataset.do === "end") this.queue.cancel(item);
    else if (item.state === "lost") this.again(item);
    else if (holding(item) === "pause") this.queue.pause(item);
    else this.queue.retry(item);
  }

  #listen() {
    const { queue, panel } = this;
    const turn = () => this.fold(panel.dataset.fold !== "shut");
    find("#transfer-fold").addEventListener("click", turn);
    find("#transfer-cancel").addEventListener("click", () => queue.cancelAll());
    find("#transfer-pause").addEventListener("click", () => queue.pauseAll());
    find("#transfer-resume").addEventListener("click", () => queue.resumeAll());
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
