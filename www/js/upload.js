// upload.js: the queue of uploads: what is sent next, what is tried again and when. Draws nothing
// and talks to the server only through the `send` it is given, so it runs in a test without a page.

import { ApiError } from "./api.js";

/** @typedef {import("./api.js").Node} Node */
/** @typedef {import("./api.js").Sending} Sending */
/** @typedef {"queued"|"sending"|"waiting"|"asking"|"done"|"failed"|"skipped"|"cancelled"} State */
/** @typedef {"keep" | "skip"} Answer */
/**
 * @typedef {object} Item
 * @property {number} id
 * @property {File} file
 * @property {string} name
 * @property {string} parent folder id
 * @property {string} place that folder's name, for the question about a taken name
 * @property {number} batch which drop or choice it came with
 * @property {State} state
 * @property {number} sent bytes
 * @property {number} speed bytes per second, smoothed
 * @property {number} attempt tries so far
 * @property {number} retryAt when a waiting item goes on, in the clock's milliseconds
 * @property {"fail" | "rename"} conflict
 * @property {ApiError | null} error
 * @property {Node | null} node what the server made of it
 */
/**
 * @typedef {object} Ports
 * @property {(what: {parent: string, name: string, file: File, conflict: "fail" | "rename"},
 *   onProgress: (sent: number) => void) => Sending} send
 * @property {() => number} now milliseconds that never go back
 * @property {(call: () => void, ms: number) => void} later
 * @property {() => number} random 0 to 1
 */

/** How many files travel at once. */
export const IN_FLIGHT_MAX = 3;
/** Tries of one file before it is left to the user. */
export const TRIES_MAX = 6;
/** The first pause before another try; each further one is twice as long, up to the last. */
export const RETRY_MS_MIN = 1_000;
export const RETRY_MS_MAX = 30_000;
/** Over how long a speed is smoothed. */
const SPEED_MS = 3_000;

/** Codes that another try may mend. */
const PASSING = new Set([
  "unreachable", "unavailable", "stalled", "timed_out", "body_stalled", "incomplete_body",
  "internal", "too_many_uploads", "too_many_attempts",
]);

/** The states in which nothing more happens by itself. */
const SETTLED = new Set(["done", "failed", "skipped", "cancelled"]);

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

  /**
   * Adds files that belong together.
   * @param {Iterable<File>} files
   * @param {string} parent
   * @param {string} place
   */
  add(files, parent, place) {
    this.batches += 1;
    let added = 0;
    for (const file of files) {
      this.ids += 1;
      added += 1;
      /** @type {Item} */
      const item = {
        id: this.ids, file, name: file.name, parent, place, batch: this.batches,
        state: "queued", sent: 0, speed: 0, attempt: 0, retryAt: 0,
        conflict: "fail", error: null, node: null,
      };
      this.items.push(item);
      this.line.push(item);
      this.onChange(item);
    }
    this.#fill();
    return added;
  }

  /** @param {Item} item */
  cancel(item) {
    if (settled(item)) return;
    const stop = this.flying.get(item);
    this.flying.delete(item);
    this.#set(item, "cancelled");
    stop?.();
    this.#fill();
  }

  cancelAll() {
    const open = this.items.filter((item) => !settled(item));
    for (const item of open) if (!this.flying.has(item)) this.#set(item, "cancelled");
    for (const item of open) this.cancel(item); // last, for each lets the next in line go
  }

  /** Tries a failed or cancelled item again from its start. @param {Item} item */
  retry(item) {
    if (item.state !== "failed" && item.state !== "cancelled" && item.state !== "skipped") return;
    item.attempt = 0;
    this.batches += 1;
    item.batch = this.batches; // an answer given to the others is not for it any more
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

  /** @param {Item} item */
  #enqueue(item) {
    item.sent = 0;
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
      if (item?.state === "queued") this.#send(item);
    }
    if (this.head === this.line.length) {
      this.line = [];
      this.head = 0;
    }
  }

  /** @param {Item} item */
  async #send(item) {
    item.attempt += 1;
    item.sent = 0;
    item.conflict = this.answers.get(item.batch) === "keep" ? "rename" : item.conflict;
    let last = this.ports.now();
    const sending = this.ports.send(item, (sent) => {
      const now = this.ports.now();
      const gone = Math.max(1, now - last);
      const share = 1 - Math.exp(-gone / SPEED_MS);
      const speed = ((sent - item.sent) / gone) * 1000;
      item.speed = item.speed === 0 ? speed : item.speed + (speed - item.speed) * share;
      item.sent = Math.min(sent, item.file.size);
      last = now;
      if (item.state === "sending") this.onChange(item);
    });
    this.flying.set(item, sending.abort);
    this.#set(item, "sending");
    try {
      this.#arrived(item, await sending.promise);
    } catch (error) {
      if (this.flying.get(item) !== sending.abort) return; // cancelled meanwhile
      this.flying.delete(item);
      this.#failed(item, error);
    }
    this.#fill();
  }

  /** @param {Item} item @param {Node} node */
  #arrived(item, node) {
    this.flying.delete(item);
    item.node = node;
    item.sent = item.file.size;
    this.#set(item, "done"); // also if it was cancelled too late: the file is there
  }

  /** @param {Item} item @param {unknown} thrown */
  #failed(item, thrown) {
    const error = thrown instanceof ApiError ? thrown : new ApiError(0, "unreadable");
    item.error = error;
    if (error.code === "name_taken") {
      const answer = this.answers.get(item.batch);
      if (answer) this.#apply(item, answer);
      else this.#set(item, "asking");
    } else if (PASSING.has(error.code) && item.attempt < TRIES_MAX) {
      const ms = pause(item.attempt, error.retryAfterMs, this.ports.random());
      const attempt = item.attempt;
      item.retryAt = this.ports.now() + ms;
      this.#set(item, "waiting");
      this.ports.later(() => {
        if (item.state === "waiting" && item.attempt === attempt) this.#enqueue(item);
      }, ms);
    } else {
      this.#set(item, "failed");
    }
  }

  /** @param {Item} item @param {Answer} answer */
  #apply(item, answer) {
    item.error = null;
    if (answer === "skip") this.#set(item, "skipped");
    else {
      item.conflict = "rename";
      this.#enqueue(item);
    }
  }
}
