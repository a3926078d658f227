// sender.js: how one file travels: offered by its hash first, then sent whole if it is small, or as
// a resumable upload that goes on where it stopped. Decides nothing about when: upload.js does.
import * as api from "./api.js";
import { prove, sums } from "./hasher.js";

/** @typedef {import("./upload.js").Item} Item */
/** @typedef {import("./upload.js").Events} Events */
/** @typedef {import("./api.js").Node} Node */

/** Smaller files are sent without asking: that is as quick. The server's own limit. */
export const INSTANT_BYTES_MIN = 64 * 1024;
/** From this size on an upload is resumable. */
export const RESUMABLE_BYTES_MIN = 4 * 1024 * 1024;
/** One request of a resumable upload carries this much: what a proxy on the way may refuse. */
const PIECE_BYTES = 64 * 1024 * 1024;
/** Answers to an offer after which the file is sent as if nothing had been offered. */
const NOT_INSTANT = new Set([
  "not_found",
  "no_route",
  "too_many_attempts",
  "unavailable",
  "internal",
  "bad_request",
  "invalid_value",
  "timed_out",
]);

/** @param {Item} item */
function target(item) {
  return { name: item.name, parent: item.parent, path: item.path, conflict: item.conflict };
}

/** A travel that can be stopped, whatever it is waiting for. */
class Trip {
  constructor() {
    this.stopped = false;
    this.stop = () => {};
  }

  /** Waits for something that can be stopped. @template T
   * @param {{promise: Promise<T>, abort: () => void}} step @returns {Promise<T>} */
  async wait(step) {
    this.check();
    this.stop = step.abort;
    const result = await step.promise;
    this.check();
    return result;
  }

  check() {
    if (this.stopped) throw new api.ApiError(0, "aborted");
  }

  abort() {
    this.stopped = true;
    this.stop();
  }
}

/**
 * Offers the content by its hash.
 * @param {Item} item @param {File} file @param {Events} events @param {Trip} trip
 * @returns {Promise<Node | null>} null: it has to be sent
 */
async function offer(item, file, events, trip) {
  events.phase("checking");
  item.sums ??= await trip.wait(sums(file, events.checked));
  if (item.sums === null) return null; // this browser cannot
  events.begun();
  try {
    const asked = await api.instant({ ...target(item), md5: item.sums.md5, size: item.size });
    trip.check();
    const proof = await trip.wait(prove(file, asked.nonce, asked.ranges));
    return proof === null ? null : await api.instantProve(asked.challenge, proof);
  } catch (error) {
    if (error instanceof api.ApiError && NOT_INSTANT.has(error.code)) return null;
    throw error;
  }
}

/**
 * @param {Item} item @param {File} file @param {Events} events @param {Trip} trip
 * @returns {Promise<Node>}
 */
async function sendWhole(item, file, events, trip) {
  const request = await trip.wait(
    api.sendBytes(
      {
        method: "PUT",
        path: api.putUrl(target(item)),
        body: file,
        headers: { "Content-Type": "application/octet-stream" },
      },
      events.progress,
    ),
  );
  return JSON.parse(request.responseText);
}

/**
 * Where a resumable upload goes on; begins one if there is none, or none any more. Null: there
 * are none here.
 * @param {Item} item @param {Events} events
 */
async function resume(item, events) {
  if (item.upload !== null) {
    try {
      const { offset, node } = await api.uploadOffset(item.upload);
      return { offset, node };
    } catch (error) {
      if (!(error instanceof api.ApiError) || error.status !== 404) throw error;
      item.upload = null; // it has expired: from the start
    }
  }
  const { name, ...to } = target(item);
  const sha256 = item.sums?.sha256 ?? "";
  try {
    const begun = await api.beginUpload(item.size, { filename: name, ...to, sha256 });
    item.upload = begun.id;
    events.begun();
    return { offset: 0, node: begun.node };
  } catch (error) {
    // A cluster that cannot append to files has no resumable uploads.
    if (error instanceof api.ApiError && error.status === 404) return null;
    throw error;
  }
}

/**
 * @param {Item} item @param {File} file @param {Events} events @param {Trip} trip
 * @returns {Promise<Node>}
 */
async function sendResumable(item, file, events, trip) {
  const begun = await resume(item, events);
  if (begun === null) return sendWhole(item, file, events, trip);
  let { offset, node } = begun;
  item.sent = offset;
  events.progress(offset);
  while (node === null) {
    trip.check();
    const from = offset;
    const piece = file.slice(from, from + PIECE_BYTES);
    const request = await trip.wait(
      api.continueUpload(item.upload ?? "", from, piece, (sent) => events.progress(from + sent)),
    );
    offset = Number(request.getResponseHeader("Upload-Offset"));
    node = request.getResponseHeader("Upload-Node");
    if (node === null && offset <= from) throw new api.ApiError(0, "stalled");
  }
  return (await api.info(node)).node;
}

/** Sends an item. @param {Item} item @param {Events} events
 * @returns {import("./upload.js").Travel} */
export function send(item, events) {
  const trip = new Trip();
  const { file } = item;
  const go = async () => {
    if (file === null) throw new api.ApiError(0, "unreadable");
    if (item.size >= INSTANT_BYTES_MIN && item.upload === null) {
      const node = await offer(item, file, events, trip);
      if (node !== null) return { node, instant: true };
    }
    trip.check();
    events.phase("sending");
    const way = item.size < RESUMABLE_BYTES_MIN ? sendWhole : sendResumable;
    return { node: await way(item, file, events, trip), instant: false };
  };
  return { promise: go(), abort: () => trip.abort() };
}

/** Gives up what the server keeps of an item. @param {Item} item */
export function give(item) {
  const { upload } = item;
  // If this does not arrive, the upload expires by itself.
  if (upload !== null) api.giveUpload(upload).catch(() => {});
}
