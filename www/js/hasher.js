// hasher.js: hands files to the workers that hash them. Hashes nothing itself, and answers null
// where a browser cannot (no workers, no WebAssembly): such files are simply sent.

/** Workers that hash at the same time. */
const WORKERS_MAX = 2;

/**
 * @typedef {object} Job
 * @property {(value: any) => void} resolve
 * @property {(error: unknown) => void} reject
 * @property {(done: number) => void} progress
 */

/** @type {Worker[]} */
const workers = [];
/** @type {Map<number, Job>} */
const jobs = new Map();
let ids = 0;
let broken = false;

/** Ends all hopes: what is under way is sent without having been hashed. */
function breakDown() {
  broken = true;
  for (const job of jobs.values()) job.resolve(null);
  jobs.clear();
}

/** @param {MessageEvent} event */
function onMessage({ data }) {
  const job = jobs.get(data.id);
  if (!job) return;
  if (data.done !== undefined) return job.progress(data.done);
  jobs.delete(data.id);
  if (data.failed) job.reject(new Error(data.failed));
  else job.resolve(data.result);
}

function start() {
  const worker = new Worker("js/workers/hash.js", { type: "module" });
  worker.addEventListener("message", onMessage);
  worker.addEventListener("error", breakDown);
  workers.push(worker);
  return worker;
}

/**
 * @param {object} message
 * @param {(done: number) => void} progress
 * @returns {{promise: Promise<any>, abort: () => void}}
 */
function run(message, progress) {
  ids += 1;
  const id = ids;
  if (broken) return { promise: Promise.resolve(null), abort: () => {} };
  const worker = workers.length < WORKERS_MAX ? start() : (workers[id % WORKERS_MAX] ?? start());
  const promise = new Promise((resolve, reject) => jobs.set(id, { resolve, reject, progress }));
  worker.postMessage({ id, ...message });
  const abort = () => {
    worker.postMessage({ id, stop: true });
    jobs.get(id)?.resolve(null);
    jobs.delete(id);
  };
  return { promise, abort };
}

/**
 * MD5 and SHA-256 of a file, in one pass.
 * @param {File} file
 * @param {(done: number) => void} progress bytes hashed so far
 * @returns {{promise: Promise<{md5: string, sha256: string} | null>, abort: () => void}}
 */
export function sums(file, progress) {
  return run({ file }, progress);
}

/**
 * Proves that the file is here: HMAC-SHA-256 over some of its bytes, keyed with a nonce.
 * @param {File} file
 * @param {string} nonce hexadecimal
 * @param {readonly {offset: number, length: number}[]} ranges
 * @returns {{promise: Promise<string | null>, abort: () => void}}
 */
export function prove(file, nonce, ranges) {
  return run({ file, nonce, ranges }, () => {});
}
