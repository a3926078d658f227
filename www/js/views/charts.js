// charts.js: small charts as SVG: bars and meters. Numbers in, shapes out.
import { h } from "../dom.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 480;
const LINE = 34;
const BAR = 8;
/** Shares from which space is short. */
const NEAR = 0.8;
const FULL = 0.95;

/** @param {string} name @param {Record<string, string | number>} attributes
 * @param {string} [text] */
function shape(name, attributes, text = "") {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  if (text !== "") element.textContent = text;
  return element;
}

/**
 * @param {readonly {name: string, value: number, of?: number, text: string}[]} rows
 * @param {string} label
 */
export function bars(rows, label) {
  const svg = shape("svg", {
    viewBox: `0 0 ${WIDTH} ${Math.max(1, rows.length) * LINE}`,
    class: "chart",
    role: "img",
    "aria-label": `${label}: ${rows.map((row) => `${row.name} ${row.text}`).join(", ")}`,
  });
  const most = Math.max(1, ...rows.map((row) => row.of ?? row.value));
  for (const [index, row] of rows.entries()) {
    const y = index * LINE;
    const whole = { x: 0, y: y + 21, height: BAR, rx: BAR / 2 };
    svg.append(
      shape("text", { x: 0, y: y + 14 }, row.name),
      shape("text", { x: WIDTH, y: y + 14, "text-anchor": "end" }, row.text),
      shape("rect", { ...whole, width: WIDTH, fill: "var(--line)" }),
      shape("rect", {
        ...whole,
        width: Math.max(3, (row.value / most) * WIDTH),
        fill: "var(--jade)",
      }),
    );
  }
  return svg;
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
