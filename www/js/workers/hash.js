// hash.js: the worker that hashes files with WebAssembly, away from the page. It is served under a
// policy of its own, the only one that lets WebAssembly be compiled, and uses no network.

/** Bytes read at once: large enough to be quick, small enough to stop soon. */
const PIECE_BYTES = 4 * 1024 * 1024;
/** A range of a proof, whatever the server asks for. */
const RANGE_BYTES_MAX = 64 * 1024 * 1024;

/** They put what they offer into `globalThis.hashwasm`. */
const LIBRARIES = Object.freeze(
  ["md5", "sha256", "hmac"].map((name) => `../../vendor/hash-wasm/${name}.umd.min.js`),
);
const loaded = Promise.all(LIBRARIES.map((one) => import(one)));
const post = /** @type {(message: object) => void} */ (
  /** @type {unknown} */ (globalThis.postMessage.bind(globalThis))
);
/** @type {Set<number>} jobs that are not wanted any more */
const stopped = new Set();

async function library() {
  await loaded;
  return /** @type {any} */ (globalThis).hashwasm;
}

/** @param {number} id @param {File} file */
async function sums(id, file) {
  const { createMD5, createSHA256 } = await library();
  const [md5, sha256] = await Promise.all([createMD5(), createSHA256()]);
  for (let at = 0; at < file.size; at += PIECE_BYTES) {
    const piece = new Uint8Array(await file.slice(at, at + PIECE_BYTES).arrayBuffer());
    if (stopped.has(id)) return null;
    md5.update(piece);
    sha256.update(piece);
    post({ id, done: at + piece.length });
  }
  return { md5: md5.digest("hex"), sha256: sha256.digest("hex") };
}

/** @param {string} hex */
function fromHex(hex) {
  const pairs = hex.match(/[0-9a-f]{2}/gi) ?? [];
  return Uint8Array.from(pairs, (pair) => parseInt(pair, 16));
}

/** @param {File} file @param {string} nonce @param {{offset: number, length: number}[]} ranges */
async function prove(file, nonce, ranges) {
  const { createHMAC, createSHA256 } = await library();
  const hmac = await createHMAC(createSHA256(), fromHex(nonce));
  for (const { offset, length } of ranges) {
    if (length > RANGE_BYTES_MAX) return null;
    hmac.update(new Uint8Array(await file.slice(offset, offset + length).arrayBuffer()));
  }
  return hmac.digest("hex");
}

globalThis.addEventListener("message", async ({ data }) => {
  const { id, file, nonce, ranges, stop } = data;
  if (stop) {
    stopped.add(id);
    return;
  }
  try {
    const result = await (nonce === undefined ? sums(id, file) : prove(file, nonce, ranges));
    post({ id, result });
  } catch (error) {
    post({ id, failed: String(error) }); // the file has gone, or has changed
  }
  stopped.delete(id);
});
