// axe.mjs: asks axe-core whether a page keeps the rules of WCAG 2.2 AA. Holds no test.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/** What is wrong with the page as it stands: the rule, the element, the reason. */
export async function violations(page) {
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(AXE);
  const found = await page.evaluate(async (rules) => {
    const asked = { runOnly: rules, resultTypes: ["violations"] };
    const { violations } = await window.axe.run(document, asked);
    return violations.map(({ id, nodes }) => ({
      id, nodes: nodes.map((node) => `${node.target.join(" ")}: ${node.failureSummary}`),
    }));
  }, RULES);
  return found.map(({ id, nodes }) => `${id}: ${nodes.join("\n    ")}`);
}
