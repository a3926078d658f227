// pdf.js: previews a PDF on canvases, page by page as they come into view. The library asks for
// bytes through api.js only, runs no script of the document and fetches nothing else.
import { bytes } from "../api.js";
import { h } from "../dom.js";
import { t } from "../i18n.js";

const LIBRARY = "../../vendor/pdfjs/pdf.min.js";
const WORKER = "vendor/pdfjs/pdf.worker.min.js";
const CMAPS = "vendor/pdfjs/cmaps/";
/** The widest a page is drawn, in pixels of the page's own width. */
const WIDTH_MAX = 1400;
/** Bytes asked for at once. */
const RANGE_BYTES = 256 * 1024;

/** The tables that Chinese, Japanese and Korean fonts need come from our own site. */
class CMapReader {
  /** @param {{name: string}} wanted */
  async ["fetch"]({ name }) {
    const { bytes: content } = await bytes(`${CMAPS}${encodeURIComponent(name)}.bcmap`);
    return { cMapData: content, isCompressed: true };
  }
}

/** @param {any} library @param {string} url @param {number} length */
function transport(library, url, length) {
  const range = new library.PDFDataRangeTransport(length, null);
  range.requestDataRange = async (/** @type {number} */ from, /** @type {number} */ to) => {
    try {
      const { bytes: part } = await bytes(url, from, to);
      range.onDataRange(from, part);
    } catch {
      range.abort(); // the document says that it could not be loaded
    }
  };
  return range;
}

/** @param {any} page @param {HTMLElement} leaf */
async function draw(page, leaf) {
  const ratio = Math.min(2, window.devicePixelRatio || 1);
  const whole = page.getViewport({ scale: 1 });
  const viewport = page.getViewport({ scale: (leaf.clientWidth * ratio) / whole.width });
  const canvas = h("canvas", {
    width: Math.floor(viewport.width),
    height: Math.floor(viewport.height),
    "aria-hidden": "true",
  });
  leaf.replaceChildren(canvas);
  await page.render({ canvasContext: canvas.getContext("2d"), viewport }).promise;
  // The words, for those who listen: as text, in the order the document gives them.
  const content = await page.getTextContent();
  const words = content.items
    .map((/** @type {any} */ item) => `${item.str}${item.hasEOL ? "\n" : ""}`)
    .join("");
  leaf.append(h("p", { class: "sr", text: words }));
}

/** @type {import("./preview.js").Previewer} */
export async function show(node, source, stage) {
  const library = await import(LIBRARY);
  library.GlobalWorkerOptions.workerSrc = WORKER;
  const task = library.getDocument({
    range: transport(library, source.url(node, true), node.size),
    length: node.size,
    rangeChunkSize: RANGE_BYTES,
    disableStream: true,
    isEvalSupported: false,
    enableXfa: false,
    CMapReaderFactory: CMapReader,
    cMapUrl: CMAPS,
    useWorkerFetch: false,
    verbosity: 0,
  });
  const document = await task.promise.catch(() => {
    throw new Error(t("preview.unreadable"));
  });
  const box = h("div", { class: "pages", tabindex: 0, role: "region", "aria-label": node.name });
  const first = (await document.getPage(1)).getViewport({ scale: 1 });
  const seen = new IntersectionObserver(
    async (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        seen.unobserve(target);
        try {
          const page = await document.getPage(Number(target.getAttribute("data-page")));
          await draw(page, /** @type {HTMLElement} */ (target));
        } catch {
          // A page that is broken stays white; one that is left while it is drawn is gone anyway.
        }
      }
    },
    { root: null, rootMargin: "400px" },
  );
  for (let number = 1; number <= document.numPages; number += 1) {
    const leaf = h("div", {
      class: "leaf",
      "data-page": number,
      role: "group",
      "aria-label": t("preview.page", { n: number, of: document.numPages }),
    });
    leaf.style.inlineSize = `min(100%, ${WIDTH_MAX}px, ${Math.round(first.width * 1.5)}px)`;
    leaf.style.aspectRatio = `${first.width} / ${first.height}`;
    box.append(leaf);
    seen.observe(leaf);
  }
  stage.append(box);
  return () => {
    seen.disconnect();
    task.destroy();
  };
}
