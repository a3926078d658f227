// live.js: changes made in other tabs and devices reach this page. Bundles what comes in a burst,
// and asks anew after a gap in the connection, for missed events are not repeated.
import { listen } from "./api.js";

/** Events within this time are one. */
const BUNDLE_MS = 150;
/** While they go on, as during a large upload, the page asks anew no more often than this. */
const PAUSE_MS = 2_000;

/**
 * @param {(kinds: ReadonlySet<string>, folders: ReadonlySet<string>) => void} onChange `open` is
 *   among the kinds after a reconnect
 */
export function watchDrive(onChange) {
  /** @type {Set<string>} */
  let kinds = new Set();
  /** @type {Set<string>} */
  let folders = new Set();
  let timer = 0;
  let last = -PAUSE_MS;
  let connected = false;
  const flush = () => {
    timer = 0;
    last = performance.now();
    const [seen, places] = [kinds, folders];
    kinds = new Set();
    folders = new Set();
    onChange(seen, places);
  };
  const source = listen((kind, data) => {
    if (kind === "open" && !connected) {
      connected = true; // the first connection: the page has just asked for everything
      document.documentElement.dataset.live = "";
      return;
    }
    kinds.add(kind);
    for (const folder of data.folders ?? []) folders.add(folder);
    const wait = Math.max(BUNDLE_MS, last + PAUSE_MS - performance.now());
    if (timer === 0) timer = window.setTimeout(flush, wait);
  });
  window.addEventListener("pagehide", () => source.close());
}
