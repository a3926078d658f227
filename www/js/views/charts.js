// charts.js: small charts: bars and meters. Numbers in, elements out.
import { h } from "../dom.js";

/** Shares from which space is short. */
const NEAR = 0.8;
const FULL = 0.95;

/**
 * Bars below one another, each as long as its share of the largest, or of its own whole.
 * @param {readonly {name: string, value: number, of?: number, text: string}[]} rows
 * @param {string} label
 */
export function bars(rows, label) {
  const most = Math.max(1, ...rows.map((row) => row.of ?? row.value));
  return h(
    "div",
    {
      class: "chart",
      role: "img",
      "aria-label": `${label}: ${rows.map((row) => `${row.name} ${row.text}`).join(", ")}`,
    },
    ...rows.map((row) => {
      const fill = h("div", {});
      fill.style.inlineSize = `${(row.value / most) * 100}%`;
      return h(
        "div",
        {},
        h("p", {}, h("span", { text: row.name }), h("span", { text: row.text })),
        h("div", { class: "meter" }, fill),
      );
    }),
  );
}

/** How much of something is used.
 * @param {number} used @param {number} whole @param {string} label */
export function meter(used, whole, label) {
  const share = whole > 0 ? used / whole : 0;
  const fill = h("div", {});
  fill.style.inlineSize = `${share * 100}%`;
  return h(
    "div",
    {
      class: `meter ${share > FULL ? "full" : share > NEAR ? "near" : ""}`,
      role: "meter",
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      "aria-valuenow": Math.round(share * 100),
      "aria-valuetext": label,
      "aria-label": label,
    },
    fill,
  );
}
