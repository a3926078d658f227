// id3.js: reads the text tags at the beginning of an MP3 (ID3v2.2 to 2.4). Pure and total: whatever
// the bytes are, the result is a few short texts or none.

/** @typedef {{title?: string, artist?: string, album?: string, year?: string}} Tags */

/** @type {Readonly<Record<string, keyof Tags>>} */
const FRAMES = Object.freeze({
  TIT2: "title",
  TPE1: "artist",
  TALB: "album",
  TYER: "year",
  TDRC: "year",
  TT2: "title",
  TP1: "artist",
  TAL: "album",
  TYE: "year",
});
const HEADER = 10;
/** Letters of a tag that are shown. */
const TEXT_MAX = 200;

/** A number of seven bits a byte. @param {Uint8Array} bytes @param {number} at */
function syncsafe(bytes, at) {
  let value = 0;
  for (let index = at; index < at + 4; index += 1)
    value = value * 128 + ((bytes[index] ?? 0) & 0x7f);
  return value;
}

/** @param {Uint8Array} bytes @param {number} at @param {number} count */
function plain(bytes, at, count) {
  let value = 0;
  for (let index = at; index < at + count; index += 1) value = value * 256 + (bytes[index] ?? 0);
  return value;
}

/** @param {Uint8Array} body the first byte names the encoding */
function text(body) {
  const encodings = ["latin1", "utf-16", "utf-16be", "utf-8"];
  const name = encodings[body[0] ?? 0] ?? "latin1";
  const whole = new TextDecoder(name).decode(body.subarray(1));
  return (whole.split("\0")[0] ?? "").trim().slice(0, TEXT_MAX);
}

/** @param {Uint8Array} bytes the beginning of a file @returns {Tags} */
export function tagsOf(bytes) {
  /** @type {Tags} */
  const tags = {};
  if (String.fromCharCode(...bytes.subarray(0, 3)) !== "ID3") return tags;
  const version = bytes[3] ?? 0;
  const short = version === 2;
  const [idLength, head] = short ? [3, 6] : [4, HEADER];
  const end = Math.min(bytes.length, HEADER + syncsafe(bytes, 6));
  let at = HEADER;
  while (at + head <= end) {
    const id = String.fromCharCode(...bytes.subarray(at, at + idLength));
    const length = short
      ? plain(bytes, at + 3, 3)
      : version === 4
        ? syncsafe(bytes, at + 4)
        : plain(bytes, at + 4, 4);
    const frame = FRAMES[id];
    if (length === 0 || at + head + length > end) break;
    if (frame) tags[frame] ??= text(bytes.subarray(at + head, at + head + length));
    at += head + length;
  }
  return tags;
}
