// dialogs.js: the questions of the pages: a name, yes or no, what to do if a name is taken. Each is
// a dialogue of its own that is gone when it is answered.
import { makeFolder } from "./api.js";
import { h, icon, words } from "./dom.js";
import { t } from "./i18n.js";

/** @typedef {import("./i18n.js").Key} Key */
/** @typedef {import("./api.js").Node} Node */

let count = 0;

/**
 * Opens a dialogue; closing it removes it.
 * @param {{id: string, title: string, wide?: boolean}} about
 * @param {...(globalThis.Node | string)} content
 */
export function openDialog({ id, title, wide }, ...content) {
  const heading = `${id}-title`;
  const dialog = h(
    "dialog",
    { id, "aria-labelledby": heading, class: wide ? "wide-dialog" : null },
    h(
      "header",
      { class: "dialog-head" },
      h("h2", { id: heading, text: title }),
      h(
        "button",
        {
          type: "button",
          class: "icon-button",
          tLabel: "app.close",
          onclick: () => dialog.close(),
        },
        icon("close"),
      ),
    ),
    ...content,
  );
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => {
    // on the backdrop
    const box = dialog.getBoundingClientRect();
    const inside =
      event.clientX >= box.left &&
      event.clientX <= box.right &&
      event.clientY >= box.top &&
      event.clientY <= box.bottom;
    if (event.target === dialog && !inside && event.clientX > 0) dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
  // The first thing to fill in or press, not the cross that the header begins with.
  const first = dialog.querySelector("[autofocus], form input, form button, section button");
  if (first instanceof HTMLElement) first.focus();
  return dialog;
}

/**
 * A labelled field with a place for its error.
 * @param {Key} label
 * @param {import("./dom.js").Props} props of the input
 * @param {Key | null} [hint]
 */
export function field(label, props, hint = null) {
  count += 1;
  const id = String(props.id ?? `field-${count}`);
  const error = h("p", { id: `${id}-error`, class: "field-error", role: "alert" });
  const input = h("input", {
    ...props,
    id,
    autocomplete: props.autocomplete ?? "off",
    "aria-describedby": `${id}-error${hint ? ` ${id}-hint` : ""}`,
  });
  const box = h(
    "div",
    { class: "field" },
    h("label", { for: id, t: label }),
    input,
    hint ? h("p", { id: `${id}-hint`, class: "hint", t: hint }) : null,
    error,
  );
  return {
    box,
    input,
    /** @param {string} text empty: nothing is wrong */
    fail: (text) => {
      error.textContent = text;
      if (text === "") input.removeAttribute("aria-invalid");
      else {
        input.setAttribute("aria-invalid", "true");
        input.focus();
      }
    },
  };
}

/** The row of buttons below a question. @param {Key} go @param {() => void} onCancel
 * @param {boolean} [danger] */
export function answers(go, onCancel, danger = false) {
  return h(
    "div",
    { class: "answers" },
    h("button", { type: "button", class: "quiet", t: "app.cancel", onclick: onCancel }),
    h("button", { type: "submit", class: danger ? "primary danger" : "primary", t: go }),
  );
}

/**
 * Asks for one text and sends it; stays open with the reason while that fails.
 * @param {{id: string, title: string, label: Key, go: Key, value?: string, type?: string}} about
 * @param {(value: string) => Promise<unknown>} send
 */
export function askText({ id, title, label, go, value = "", type = "text" }, send) {
  const name = field(label, { id: `${id}-input`, name: "value", value, type, autofocus: true });
  const form = h(
    "form",
    {
      novalidate: true,
      onsubmit: async (/** @type {Event} */ event) => {
        event.preventDefault();
        try {
          name.fail("");
          await send(type === "password" ? name.input.value : name.input.value.trim());
          dialog.close();
        } catch (thrown) {
          name.fail(words(thrown));
        }
      },
    },
    name.box,
    answers(go, () => dialog.close()),
  );
  const dialog = openDialog({ id, title }, form);
  return dialog;
}

/**
 * Asks for a name and makes a folder of it.
 * @param {string} parent
 * @param {(node: Node) => void} onMade
 */
export function askFolder(parent, onMade) {
  const about = /** @type {const} */ ({ label: "folder.name", go: "folder.go" });
  askText({ id: "new-folder", title: t("folder.title"), ...about }, async (name) => {
    onMade(await makeFolder(parent, name));
  });
}

/**
 * Asks yes or no.
 * @param {{title: string, text: string, go: Key, danger?: boolean}} about
 * @returns {Promise<boolean>}
 */
export function confirm({ title, text, go, danger = false }) {
  return new Promise((resolve) => {
    let yes = false;
    const form = h(
      "form",
      {
        method: "dialog",
        onsubmit: () => {
          yes = true;
        },
      },
      h("p", { text }),
      answers(go, () => dialog.close(), danger),
    );
    const dialog = openDialog({ id: "confirm", title }, form);
    dialog.addEventListener("close", () => resolve(yes));
  });
}

/** @typedef {"keep" | "skip" | "replace"} Answer */

/**
 * Asks what to do with something whose name is taken. Closing the question skips it.
 * @param {{text: string, replace: boolean, many: boolean}} about
 * @param {(answer: Answer, forAll: boolean) => void} onAnswer
 */
export function askConflict({ text, replace, many }, onAnswer) {
  /** @type {Answer} */
  let answer = "skip";
  const all = h("input", { id: "conflict-all", type: "checkbox" });
  const card = (/** @type {Answer} */ value, /** @type {Key} */ title, /** @type {Key} */ hint) =>
    h(
      "button",
      {
        value,
        class: "card",
        autofocus: value === "keep",
        onclick: () => {
          answer = value;
        },
      },
      h("strong", { t: title }),
      h("span", { t: hint }),
    );
  const form = h(
    "form",
    { method: "dialog" },
    h("p", { id: "conflict-text", class: "conflict-text", text }),
    h(
      "div",
      { class: "conflict-answers" },
      card("keep", "conflict.keep", "conflict.keep_hint"),
      ...(replace ? [card("replace", "conflict.replace", "conflict.replace_hint")] : []),
      card("skip", "conflict.skip", "conflict.skip_hint"),
    ),
    many ? h("label", { class: "check" }, all, h("span", { t: "conflict.all" })) : null,
  );
  const dialog = openDialog({ id: "conflict", title: t("conflict.title") }, form);
  dialog.addEventListener("close", () => onAnswer(answer, all.checked));
}
