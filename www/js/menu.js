// menu.js: the one menu of the page: a list of things to do, opened at a point or below a button,
// worked by pointer and keyboard. Knows nothing of what the things are.
import { find, h, icon } from "./dom.js";

/**
 * @typedef {object} Action
 * @property {string} label
 * @property {string} icon
 * @property {() => unknown} run
 * @property {string} [keys] its shortcut, as it is written
 * @property {boolean} [danger]
 * @property {boolean} [checked] one of several, of which this is on
 * @property {boolean} [apart] a line stands above it
 */

/** Pixels kept free between the menu and the edge of the window. */
const EDGE = 8;

const menu = h("div", { id: "menu", class: "menu actions", role: "menu", popover: "auto" });
/** What had the focus before, and gets it back. @type {HTMLElement | null} */
let before = null;

/** @param {Action} action */
function item(action) {
  const radio = action.checked !== undefined;
  const button = h(
    "button",
    {
      type: "button",
      role: radio ? "menuitemradio" : "menuitem",
      tabindex: -1,
      class: `menu-item${action.danger ? " danger" : ""}${action.apart ? " apart" : ""}`,
      "aria-checked": radio ? String(action.checked) : null,
      onclick: () => {
        close();
        action.run();
      },
    },
    icon(action.checked === false ? "none" : action.icon),
    h("span", { text: action.label }),
  );
  if (action.keys) button.append(h("kbd", { text: action.keys, "aria-hidden": "true" }));
  return button;
}

/** @returns {HTMLElement[]} */
function items() {
  return Array.from(menu.querySelectorAll("button"));
}

/** @param {number} by */
function step(by) {
  const all = items();
  const at = all.findIndex((one) => one === document.activeElement);
  all[(at + by + all.length) % all.length]?.focus();
}

/** The next item that begins with a letter. @param {string} letter */
function jump(letter) {
  const all = items();
  const at = all.findIndex((one) => one === document.activeElement);
  const rest = [...all.slice(at + 1), ...all.slice(0, at + 1)];
  rest
    .find((one) =>
      one.querySelector("span")?.textContent?.toLowerCase().startsWith(letter.toLowerCase()),
    )
    ?.focus();
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  const steps = /** @type {Record<string, () => void>} */ ({
    ArrowDown: () => step(1),
    ArrowUp: () => step(-1),
    Tab: close,
    Home: () => items()[0]?.focus(),
    End: () => items().at(-1)?.focus(),
  });
  const run = steps[event.key];
  if (!run && event.key.length !== 1) return;
  if (event.key === " ") return; // presses the button
  event.preventDefault();
  event.stopPropagation();
  if (run) run();
  else jump(event.key);
}

export function close() {
  if (menu.matches(":popover-open")) menu.hidePopover();
}

/**
 * Opens the menu.
 * @param {readonly Action[]} actions
 * @param {{x: number, y: number} | Element} where a point, or what it hangs from
 * @param {string} label what it is a menu of
 */
export function openMenu(actions, where, label) {
  if (actions.length === 0) return;
  if (!menu.isConnected) {
    find("#main").append(menu); // a landmark, also for what lies above everything
    menu.addEventListener("keydown", onKey);
    menu.addEventListener("toggle", (event) => {
      if (
        /** @type {ToggleEvent} */ (event).newState === "closed" &&
        menu.contains(document.activeElement)
      )
        before?.focus();
    });
  }
  close();
  before = document.activeElement instanceof HTMLElement ? document.activeElement : null;
  menu.setAttribute("aria-label", label);
  menu.replaceChildren(...actions.map(item));
  menu.showPopover();
  const box = menu.getBoundingClientRect();
  const from = where instanceof Element ? where.getBoundingClientRect() : null;
  const x = from ? from.right - box.width : /** @type {{x: number}} */ (where).x;
  const y = from ? from.bottom + 4 : /** @type {{y: number}} */ (where).y;
  const left = Math.min(Math.max(EDGE, x), window.innerWidth - box.width - EDGE);
  const above = from ? from.top - box.height - 4 : y - box.height;
  const fits = y + box.height + EDGE <= window.innerHeight;
  menu.style.left = `${left}px`;
  const lowest = window.innerHeight - box.height - EDGE;
  menu.style.top = `${Math.max(EDGE, fits ? y : Math.max(above, lowest))}px`;
  items()[0]?.focus({ preventScroll: true });
}
