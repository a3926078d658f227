// qr.js: a text as a QR code, drawn as one path. The library that makes it is loaded when needed.
const LIBRARY = "../vendor/uqr/uqr.js";
const SVG = "http://www.w3.org/2000/svg";
/** Light modules around the code, without which cameras do not see its edge. */
const QUIET = 2;

/**
 * @param {string} text
 * @param {string} label what it holds, for those who cannot see it
 * @returns {Promise<SVGElement>}
 */
export async function qr(text, label) {
  const { encode } = await import(LIBRARY);
  /** @type {boolean[][]} */
  const rows = encode(text, { ecc: "M", border: 0 }).data;
  const side = rows.length + 2 * QUIET;
  const path = rows.flatMap((row, y) =>
    row.map((dark, x) => (dark ? `M${x + QUIET} ${y + QUIET}h1v1h-1z` : "")),
  );
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "qr");
  svg.setAttribute("viewBox", `0 0 ${side} ${side}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  svg.setAttribute("shape-rendering", "crispEdges");
  const dots = document.createElementNS(SVG, "path");
  dots.setAttribute("d", path.join(""));
  svg.append(dots);
  return svg;
}
