// keep.js: remembers the queue of uploads across a reload, in IndexedDB. What cannot be remembered
// is only lost with the page, as it would be without this file.
import { settled } from "./upload.js";

/** @typedef {import("./upload.js").Item} Item */
/** @typedef {import("./upload.js").Queue} Queue */

const STORE = "uploads";
/** Changes are written together, this often. */
const WRITE_MS = 400;
/** Records of one transaction: whoever types waits for one of them, at most. */
const WRITE_ITEMS = 50;
/** Another tab that lives answers within this time. */
const ANSWER_MS = 250;

/** @returns {Promise<IDBDatabase>} */
function open() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open("fastdisk", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** @param {IDBTransaction} transaction @returns {Promise<void>} */
function finished(transaction) {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
  });
}

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** @param {Item} item @param {string} run @param {string} user */
function record(item, run, user) {
  const { name, size, modified, parent, path, place, conflict, sums, upload, sent, handle } = item;
  return {
    run,
    user,
    name,
    size,
    modified,
    parent,
    path,
    place,
    conflict,
    sums,
    upload,
    sent,
    handle,
  };
}

export class Keep {
  /** @param {Queue} queue */
  constructor(queue) {
    this.queue = queue;
    this.user = "";
    /** Names this page among the tabs. */
    this.run = `${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 10)}`;
    /** @type {Set<Item>} */
    this.changed = new Set();
    /** @type {Set<number>} items that have a record */
    this.held = new Set();
    this.timer = 0;
    this.channel = new BroadcastChannel("fastdisk-tabs");
    /** @type {Set<string>} runs that have answered */
    this.alive = new Set();
    this.channel.addEventListener("message", ({ data }) => {
      if (data === "who") this.channel.postMessage(this.run);
      else this.alive.add(data);
    });
    /** @type {Promise<IDBDatabase | null>} */
    this.base = open().catch(() => null); // private windows may forbid it
  }

  /** Takes note of a change. @param {Item} item */
  change(item) {
    this.changed.add(item);
    if (this.timer === 0) this.timer = window.setTimeout(() => this.#write(), WRITE_MS);
  }

  async #write() {
    const base = await this.base;
    const items = [...this.changed];
    this.changed.clear();
    for (let from = 0; base && from < items.length; from += WRITE_ITEMS) {
      const transaction = base.transaction(STORE, "readwrite");
      const store = transaction.objectStore(STORE);
      for (const item of items.slice(from, from + WRITE_ITEMS)) this.#put(store, item);
      await finished(transaction).catch(() => {}); // full or gone: see above
    }
    this.timer = 0;
    if (this.changed.size > 0) this.timer = window.setTimeout(() => this.#write(), WRITE_MS);
  }

  /** @param {IDBObjectStore} store @param {Item} item */
  #put(store, item) {
    const key = `${this.run}/${item.id}`;
    if (!settled(item) || item.state === "failed") {
      this.held.add(item.id);
      store.put(record(item, this.run, this.user), key);
    } else if (this.held.delete(item.id)) store.delete(key);
  }

  /**
   * Takes over what pages that are gone had not finished.
   * @param {string} user whose uploads
   * @returns {Promise<number>} how many
   */
  async restore(user) {
    this.user = user;
    const base = await this.base;
    if (!base) return 0;
    this.channel.postMessage("who");
    await new Promise((resolve) => setTimeout(resolve, ANSWER_MS));
    const transaction = base.transaction(STORE, "readwrite"); // one at a time, among all tabs
    const store = transaction.objectStore(STORE);
    const [keys, records] = await Promise.all([result(store.getAllKeys()), result(store.getAll())]);
    const left = [];
    for (const [index, one] of records.entries()) {
      const key = keys[index];
      const ours = one.user === user && one.run !== this.run && !this.alive.has(one.run);
      if (!ours || key === undefined) continue;
      store.delete(key);
      left.push(one);
    }
    await finished(transaction);
    for (const one of left) this.queue.restore(one);
    return left.length;
  }
}
