// intake.js: files as they come to the page: dropped with their folders, pasted, chosen. Finds out
// what each is and where it belongs below the open folder; the queue takes them from here.

/** @typedef {import("./upload.js").Found} Found */
/** @typedef {(path: string) => void} OnEmpty told the way to a folder that holds nothing */

/** Files handed on at once: so many that it is quick, so few that the page goes on. */
const SLICE = 500;
/** Folders above one another that a drop may hold. */
const DEPTH_MAX = 64;

/** @param {FileSystemDirectoryReader} reader @returns {Promise<FileSystemEntry[]>} */
function readSome(reader) {
  return new Promise((resolve, reject) => reader.readEntries(resolve, reject));
}

/** @param {FileSystemFileEntry} entry @returns {Promise<File>} */
function fileOf(entry) {
  return new Promise((resolve, reject) => entry.file(resolve, reject));
}

/**
 * @param {FileSystemEntry} entry
 * @param {string[]} above
 * @param {OnEmpty} onEmpty
 * @returns {AsyncGenerator<Found>}
 */
async function* walk(entry, above, onEmpty) {
  if (entry.isFile) {
    const file = await fileOf(/** @type {FileSystemFileEntry} */ (entry));
    yield { file, path: above.join("/") };
  } else if (entry.isDirectory && above.length < DEPTH_MAX) {
    const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
    const path = [...above, entry.name];
    let some = await readSome(reader);
    if (some.length === 0) onEmpty(path.join("/"));
    for (; some.length > 0; some = await readSome(reader)) {
      for (const one of some) yield* walk(one, path, onEmpty);
    }
  }
}

/**
 * What a drop holds. The first part is read at once, for it is gone when the event is over.
 * @param {DataTransfer} data
 * @param {OnEmpty} onEmpty
 * @returns {AsyncGenerator<Found[]>} slices
 */
export function dropped(data, onEmpty) {
  const tops = [...data.items]
    .filter((item) => item.kind === "file")
    .map((item) => ({
      entry: item.webkitGetAsEntry(),
      file: item.getAsFile(),
      // Where there are handles, the browser can open the file again after a reload.
      handle: /** @type {any} */ (item).getAsFileSystemHandle?.() ?? null,
    }));
  return slices(allOf(tops, onEmpty));
}

/**
 * @param {{entry: FileSystemEntry | null, file: File | null,
 *   handle: Promise<FileSystemHandle | null> | null}[]} tops
 * @param {OnEmpty} onEmpty
 * @returns {AsyncGenerator<Found>}
 */
async function* allOf(tops, onEmpty) {
  for (const { entry, file, handle } of tops) {
    if (entry?.isDirectory) yield* walk(entry, [], onEmpty);
    else if (file) {
      const kept = await Promise.resolve(handle).catch(() => null); // then it is asked for again
      const usable = kept?.kind === "file" ? /** @type {FileSystemFileHandle} */ (kept) : null;
      yield { file, path: "", handle: usable };
    }
  }
}

/** @param {AsyncGenerator<Found>} all @returns {AsyncGenerator<Found[]>} */
async function* slices(all) {
  let slice = [];
  for await (const one of all) {
    slice.push(one);
    if (slice.length < SLICE) continue;
    yield slice;
    slice = [];
  }
  if (slice.length > 0) yield slice;
}

/**
 * What was chosen or pasted; files of a chosen folder know their way in it.
 * @param {Iterable<File>} files
 * @returns {AsyncGenerator<Found[]>}
 */
export async function* chosen(files) {
  /** @type {Found[]} */
  let slice = [];
  for (const file of files) {
    const path = file.webkitRelativePath.split("/").slice(0, -1).join("/");
    slice.push({ file, path });
    if (slice.length < SLICE) continue;
    yield slice;
    slice = [];
    await new Promise((resolve) => setTimeout(resolve, 0)); // the page goes on meanwhile
  }
  if (slice.length > 0) yield slice;
}
