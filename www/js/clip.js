// clip.js: puts text on the clipboard, also on a page without HTTPS, where the newer way is shut.
import { h, note } from "./dom.js";
import { t } from "./i18n.js";

/** @param {string} text */
function copyOld(text) {
  const area = h("textarea", { class: "sr", "aria-hidden": "true", readonly: true });
  area.value = text;
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

/** @param {string} text @param {string} told what to say then */
export async function copyText(text, told) {
  const before = document.activeElement;
  try {
    await navigator.clipboard.writeText(text);
    note(told);
  } catch {
    note(copyOld(text) ? told : t("app.not_copied"));
    if (before instanceof HTMLElement) before.focus();
  }
}
