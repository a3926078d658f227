// image.js: previews a picture: fitted into the window or in its own size, as large as it is.
import { h } from "../dom.js";
import { t } from "../i18n.js";

/** How much one step zooms. */
const STEP = 1.4;
const SCALE_MAX = 8;

/** @type {import("./preview.js").Previewer} */
export async function show(node, source, stage) {
  const picture = h("img", { src: source.url(node, true), alt: node.name, draggable: "false" });
  await new Promise((resolve, reject) => {
    picture.onload = resolve;
    picture.onerror = () => reject(new Error(t("preview.unreadable")));
  });
  const frame = h(
    "div",
    { class: "zoom", tabindex: 0, role: "group", "aria-label": t("preview.zoom") },
    picture,
  );
  let scale = 0; // fitted
  const set = (/** @type {number} */ wanted) => {
    const fitted = Math.min(
      1,
      frame.clientWidth / picture.naturalWidth,
      frame.clientHeight / picture.naturalHeight,
    );
    scale = wanted <= fitted ? 0 : Math.min(SCALE_MAX, wanted);
    frame.classList.toggle("near", scale > 0);
    picture.style.inlineSize = scale > 0 ? `${picture.naturalWidth * scale}px` : "";
  };
  const now = () => scale || picture.clientWidth / Math.max(1, picture.naturalWidth);
  picture.addEventListener("click", () => set(scale > 0 ? 0 : Math.max(1, now() * STEP)));
  frame.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey) return; // a pinch, or meant so
      event.preventDefault();
      set(now() * (event.deltaY < 0 ? STEP : 1 / STEP));
    },
    { passive: false },
  );
  frame.addEventListener("keydown", (event) => {
    if (event.key === "+" || event.key === "=") set(now() * STEP);
    else if (event.key === "-") set(now() / STEP);
    else if (event.key === "0") set(0);
    else return;
    event.preventDefault();
  });
  stage.append(frame);
}
