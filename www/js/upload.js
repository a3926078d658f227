// upload.js: the queue of uploads: what is sent next, what is tried again and when, what is paused.
// Draws nothing and reaches the server only through the `send` it is given, so it runs in a test
// without a page.
import { ApiError } from "./api.js";

/** @typedef {import("./api.js").Node} Node */
/** @typedef {import("./api.js").Conflict} Conflict */
/**
 * @typedef {"queued" | "checking" | "sending" | "waiting" | "asking" | "paused" | "lost" | "done"
 *   | "failed" | "skipped" | "cancelled"} State
 * `checking`: its content is hashed and offered; `lost`: known from before, but without its bytes.
 */
/** @typedef {import("./dialogs.js").Answer} Answer */
/** @typedef {{md5: string, sha256: string}} Sums */
/** @typedef {{file: File, path: string, handle?: FileSystemFileHandle | null}} Found */
/**
 * @typedef {object} Item
 * @property {number} id
 * @property {File | null} file null while it is lost
 * @property {FileSystemFileHandle | null} handle where the browser can open it again
 * @property {string} name
 * @property {number} size
 * @property {number} modified of the file, in milliseconds
 * @property {string} parent folder id
 * @property {string} path folders below that, made on the way
 * @property {string} place that folder's name, for the question about a taken name
 * @property {number} batch which drop or choice it came with
 * @property {State} state
 * @property {number} sent bytes
 * @property {number} checked bytes hashed
 * @property {number} speed bytes per second, smoothed
 * @property {number} attempt tries so far without a byte more
 * @property {number} retryAt when a waiting item goes on, in the clock's milliseconds
 * @property {Conflict} conflict
 * @property {Sums | null} sums
 * @property {string | null} upload the resumable upload that was begun for it
 * @property {boolean} instant stored without being sent
 * @property {ApiError | null} error
 * @property {Node | null} node what the server made of it
 */
/**
 * What a sender tells on the way.
 * @typedef {object} Events
 * @property {(state: "checking" | "sending") => void} phase
 * @property {(bytes: number) => void} checked
 * @property {(bytes: number) => void} progress
 * @property {() => void} begun the item's `upload` or `sums` have changed
 */
/** @typedef {{promise: Promise<{node: Node, instant: boolean}>, abort: () => void}} Travel */
/**
 * @typedef {object} Ports
 * @property {(item: Item, events: Events) => Travel} send
 * @property {(item: Item) => void} give ends what the server keeps of an item that is not wanted
 * @property {() => number} now milliseconds that never go back
 * @property {(call: () => void, ms: number) => void} later
 * @property {() => number} random 0 to 1
 */

/** How many files travel at once. */
export const IN_FLIGHT_MAX = 3;
/** Tries of one file without a byte more before it is left to the user. */
export const TRIES_MAX = 6;
/** The first pause before another try; each further one is twice as long, up to the last. */
export const RETRY_MS_MIN = 1_000;
export const RETRY_MS_MAX = 30_000;
/** Over how long a speed is smoothed. */
const SPEED_MS = 3_000;

/** Codes that another try may mend. */
const PASSING = new Set([
  "unreachable", "unavailable", "stalled", "timed_out", "body_stalled", "incomplete_body",
  "internal", "too_many_uploads", "too_many_attempts", "upload_locked", "wrong_offset",
  "checksum_mismatch",
]);

/** The states in which nothing more happens by itself. */
const SETTLED = new Set(["done", "failed", "skipped", "cancelled"]);
/** The states from which the user may start an item again. */
const STARTABLE = new Set(["failed", "cancelled", "skipped", "paused"]);

/**
 * The pause before try number `attempt + 1`.
 * @param {number} attempt
 * @param {number | null} asked what the server asked for
 * @param {number} random 0 to 1
 */
export function pause(attempt, asked, random) {
  const doubled = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** (attempt - 1));
  const spread = doubled * (0.75 + random / 4); // so that many clients do not return as one
  return Math.max(spread, asked ?? 0);
}

/** @param {Item} item */
export function settled(item) {
  return SETTLED.has(item.state);
}

export class Queue {
  /** @param {Ports} ports */
  constructor(ports) {
    this.ports = ports;
    /** @type {Item[]} in the order they were added */
    this.items = [];
    /** @type {Item[]} what waits for its turn; a cancelled one is passed over when it comes up */
    this.line = [];
    this.head = 0;
    /** @type {Map<Item, () => void>} what travels now, and how to stop it */
    this.flying = new Map();
    /** @type {Map<number, Answer>} what to do with each further taken name of a batch */
    this.answers = new Map();
    this.batches = 0;
    this.ids = 0;
    /** @type {(item: Item) => void} called after each change of an item */
    this.onChange = () => {};
  }

  /** Files added from now on belong together. */
  batch() {
    this.batches += 1;
    return this.batches;
  }

  /**
   * Adds files. One that an item has lost goes to that item.
   * @param {Iterable<Found>} files
   * @param {{parent: string, place: string, batch?: number}} to
   * @returns {number} how many were taken in
   */
  add(files, { parent, place, batch = this.batch() }) {
    const lost = this.items.filter((item) => item.state === "lost");
    let added = 0;
    for (const { file, path, handle = null } of files) {
      added += 1;
      const same = lost.find((item) => item.state === "lost" && this.#fits(item, file));
      if (same && same.parent === parent && same.path === path) this.#found(same, file);
      else this.#take({ file, path, handle }, { parent, place, batch });
    }
    this.#fill();
    return added;
  }

  /** @param {Found} found @param {{parent: string, place: string, batch: number}} to */
  #take({ file, path, handle = null }, to) {
    this.ids += 1;
    /** @type {Item} */
    const item = {
      id: this.ids, file, handle, name: file.name, size: file.size, modified: file.lastModified,
      path, ...to, state: "queued", sent: 0, checked: 0, speed: 0, attempt: 0, retryAt: 0,
      conflict: "fail", sums: null, upload: null, instant: false, error: null, node: null,
    };
    this.items.push(item);
    this.line.push(item);
    this.onChange(item);
  }

  /**
   * Takes in an item from before the page was loaded. Its bytes are to be found again.
   * @param {Pick<Item, "name" | "size" | "modified" | "parent" | "path" | "place" | "conflict"
   *   | "sums" | "upload" | "sent" | "handle">} kept
   */
  restore(kept) {
    this.ids += 1;
    /** @type {Item} */
    const item = {
      ...kept, id: this.ids, file: null, batch: 0, state: "lost", checked: 0, speed: 0,
      attempt: 0, retryAt: 0, instant: false, error: null, node: null,
    };
    this.items.push(item);
    this.onChange(item);
    return item;
  }

  /** Whether a file can be the one an item has lost. @param {Item} item @param {File} file */
  #fits(item, file) {
    return item.name === file.name && item.size === file.size
      && item.modified === file.lastModified;
  }

  /** Gives a lost item its file back. @param {Item} item @param {File} file */
  found(item, file) {
    if (item.state !== "lost" || !this.#fits(item, file)) return false;
    this.#found(item, file);
    return true;
  }

  /** @param {Item} item @param {File} file */
  #found(item, file) {
    item.file = file;
    this.#enqueue(item);
  }

  /** @param {Item} item */
  cancel(item) {
    if (settled(item)) return;
    this.#stop(item, "cancelled");
    if (item.upload !== null) this.ports.give(item);
    item.upload = null;
    this.#fill();
  }

  cancelAll() {
    const open = this.items.filter((item) => !settled(item));
    for (const item of open) {
      if (!this.flying.has(item) && item.upload === null) this.#set(item, "cancelled");
    }
    for (const item of open) this.cancel(item); // last, for each lets the next in line go
  }

  /** Stops an item where it is. @param {Item} item */
  pause(item) {
    if (settled(item) || item.state === "paused" || item.state === "lost") return;
    this.#stop(item, "paused");
    this.#fill();
  }

  pauseAll() {
    const open = this.items.filter((item) => !settled(item) && item.state !== "lost");
    for (const item of open) if (!this.flying.has(item)) this.#set(item, "paused");
    for (const item of open) this.pause(item);
  }

  resumeAll() {
    for (const item of this.items) if (item.state === "paused") this.#enqueue(item);
  }

  /** Starts a paused, failed or cancelled item again. @param {Item} item */
  retry(item) {
    if (!STARTABLE.has(item.state) || item.file === null) return;
    item.attempt = 0;
    if (item.state !== "paused") item.batch = this.batch(); // an old answer is not for it
    this.#enqueue(item);
  }

  /** Ends the pauses at once: the network is back. */
  wake() {
    for (const item of this.items) if (item.state === "waiting") this.#enqueue(item);
  }

  /**
   * The user's answer for an item whose name is taken.
   * @param {Item} item
   * @param {Answer} answer
   * @param {boolean} forAll also for what else came with it
   */
  answer(item, answer, forAll) {
    if (forAll) this.answers.set(item.batch, answer);
    const same = (/** @type {Item} */ one) =>
      one === item || (forAll && one.batch === item.batch);
    for (const one of this.items) {
      if (one.state === "asking" && same(one)) this.#apply(one, answer);
    }
  }

  /** Forgets what was uploaded, skipped or cancelled. */
  clear() {
    this.items = this.items.filter((item) => !settled(item) || item.state === "failed");
  }

  /** The first item that needs an answer. */
  asking() {
    return this.items.find((item) => item.state === "asking") ?? null;
  }

  /** @param {Item} item @param {State} state */
  #set(item, state) {
    item.state = state;
    if (state !== "sending") item.speed = 0;
    this.onChange(item);
  }

  /** Takes an item out of the air. @param {Item} item @param {State} state */
  #stop(item, state) {
    const stop = this.flying.get(item);
    this.flying.delete(item);
    this.#set(item, state);
    stop?.();
  }

  /** @param {Item} item */
  #enqueue(item) {
    if (item.upload === null) item.sent = 0;
    item.error = null;
    this.line.push(item);
    this.#set(item, "queued");
    this.#fill();
  }

  /** Starts what may start. */
  #fill() {
    while (this.flying.size < IN_FLIGHT_MAX && this.head < this.line.length) {
      const item = this.line[this.head];
      this.head += 1;
      if (item?.state === "queued" && !this.flying.has(item)) this.#send(item);
    }
    if (this.head === this.line.length) {
      this.line = [];
      this.head = 0;
    }
  }

  /** @param {Item} item @returns {Events} */
  #events(item) {
    let last = this.ports.now();
    return {
      phase: (state) => {
        if (this.flying.has(item) && item.state !== state) this.#set(item, state);
        last = this.ports.now();
      },
      checked: (bytes) => {
        item.checked = bytes;
        if (item.state === "checking") this.onChange(item);
      },
      progress: (sent) => {
        const now = this.ports.now();
        const gone = Math.max(1, now - last);
        const share = 1 - Math.exp(-gone / SPEED_MS);
        const speed = Math.max(0, ((sent - item.sent) / gone) * 1000);
        item.speed = item.speed === 0 ? speed : item.speed + (speed - item.speed) * share;
        if (sent > item.sent) item.attempt = 1; // it moves: no reason to give up
        item.sent = Math.min(sent, item.size);
        last = now;
        if (item.state === "sending") this.onChange(item);
      },
      begun: () => this.onChange(item),
    };
  }

  /** @param {Item} item */
  async #send(item) {
    item.attempt += 1;
    const before = this.answers.get(item.batch);
    if (before === "keep") item.conflict = "rename";
    if (before === "replace") item.conflict = "replace";
    /** @type {Travel | null} */
    let travel = null;
    try {
      this.flying.set(item, () => travel?.abort());
      this.#set(item, item.size > 0 && item.upload !== null ? "sending" : item.state);
      travel = this.ports.send(item, this.#events(item));
      if (item.state === "queued") this.#set(item, "sending");
      const { node, instant } = await travel.promise;
      this.flying.delete(item);
      item.node = node;
      item.instant = instant;
      item.sent = item.size;
      item.upload = null;
      this.#set(item, "done"); // also if it was cancelled too late: the file is there
    } catch (error) {
      if (!this.flying.has(item)) return; // stopped meanwhile
      this.flying.delete(item);
      this.#failed(item, error);
    }
    this.#fill();
  }

  /** @param {Item} item @param {unknown} thrown */
  #failed(item, thrown) {
    const error = thrown instanceof ApiError ? thrown : new ApiError(0, "unreadable");
    item.error = error;
    const tried = item.attempt >= TRIES_MAX && error.code !== "unreachable"; // that one passes
    if (error.code === "name_taken") {
      if (item.upload !== null) this.ports.give(item);
      item.upload = null; // its answer is a new beginning
      const answer = this.answers.get(item.batch);
      if (answer && item.conflict === "fail") this.#apply(item, answer);
      else this.#set(item, "asking");
    } else if (PASSING.has(error.code) && !tried) {
      const ms = pause(item.attempt, error.retryAfterMs, this.ports.random());
      const until = this.ports.now() + ms;
      item.retryAt = until;
      this.#set(item, "waiting");
      this.ports.later(() => {
        if (item.state === "waiting" && item.retryAt === until) this.#enqueue(item);
      }, ms);
    } else {
      if (error.code === "hash_mismatch") Object.assign(item, { upload: null, sums: null });
      this.#set(item, "failed");
    }
  }

  /** @param {Item} item @param {Answer} answer */
  #apply(item, answer) {
    item.error = null;
    if (answer === "skip") this.#set(item, "skipped");
    else {
      item.conflict = answer === "replace" ? "replace" : "rename";
      this.#enqueue(item);
    }
  }
}
