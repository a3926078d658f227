// The lint of the pages and of these tests: recommended rules, budgets, and the walls of www.
import js from "@eslint/js";

const BROWSER = [
  "AbortController", "Blob", "BroadcastChannel", "btoa", "cancelAnimationFrame", "clearInterval",
  "clearTimeout", "crypto", "DataTransfer", "Document", "Event", "EventSource", "indexedDB",
  "IntersectionObserver", "setInterval", "TextDecoder", "TextEncoder", "URL", "Worker",
  "document", "DOMParser", "DragEvent", "Element", "fetch", "FormData", "getComputedStyle",
  "HTMLElement", "HTMLInputElement", "KeyboardEvent", "localStorage", "location", "navigator",
  "performance", "requestAnimationFrame", "ResizeObserver", "setTimeout", "URLSearchParams",
  "window", "XMLHttpRequest",
];
const NODE = [
  "Buffer", "URL", "clearTimeout", "console", "document", "fetch", "localStorage", "location",
  "navigator", "performance", "process", "setTimeout", "window",
];
const globals = (names) => Object.fromEntries(names.map((name) => [name, "readonly"]));

const network = ["fetch", "XMLHttpRequest", "WebSocket", "EventSource"].map((name) => ({
  name, message: "Only api.js talks to the server.",
}));
const MARKUP = ["innerHTML", "outerHTML", "insertAdjacentHTML", "setHTMLUnsafe"];
const markup = MARKUP.map((property) => ({
  property, message: "Text enters the page as text: use textContent or a <template>.",
}));

const budgets = {
  "max-lines": ["error", { max: 500 }],
  "max-lines-per-function": ["error", { max: 70 }],
  "max-len": ["error", { code: 100 }],
  "no-restricted-properties": ["error", ...markup,
    { object: "document", property: "write", message: "The page is the page." }],
  "no-var": "error",
  "prefer-const": "error",
  eqeqeq: "error",
  "no-implied-eval": "error",
  "no-unused-vars": "error",
};

export default [
  { ignores: ["**/node_modules/**", "**/www/vendor/**"] },
  js.configs.recommended,
  { rules: budgets },
  {
    files: ["**/www/**/*.js"],
    languageOptions: { globals: globals(BROWSER) },
    rules: { "no-restricted-globals": ["error", ...network] },
  },
  { files: ["**/www/js/api.js"], rules: { "no-restricted-globals": "off" } },
  { files: ["**/tests/browser/**/*.mjs"], languageOptions: { globals: globals(NODE) } },
];
