// door.js: what the pages before the session share: one form, its fields' errors, its way onward.
import { find, setIcon, words } from "./dom.js";
import { onLanguage, t } from "./i18n.js";
import { showPrefs } from "./prefs.js";
import { ApiError } from "./api.js";

/** @typedef {import("./i18n.js").Key} Key */
/**
 * @typedef {object} Door
 * @property {string} context whose words the errors get
 * @property {Key} going what the button says meanwhile
 * @property {Key} go what it says otherwise
 * @property {(fields: Record<string, string>) => Promise<unknown>} send
 */

/** The place in the drive to go to: only ever a part of our own page. */
function onward() {
  const next = new URLSearchParams(location.search).get("next") ?? "";
  if (/^share\.html#\/[0-9a-f]+/.test(next)) return next;
  return `files.html${next.startsWith("#/") ? next : ""}`;
}

/**
 * The field an error belongs to, if the form has it.
 * @param {HTMLFormElement} form
 * @param {unknown} error
 */
function fieldOf(form, error) {
  const field = error instanceof ApiError ? error.field : null;
  const byCode = error instanceof ApiError
    ? { name_taken: "name", invalid_name: "name", weak_password: "password",
        needs_name: "name", needs_password: "password", code_required: "code", bad_code: "code",
      }[error.code]
    : undefined;
  const input = form.elements.namedItem(field ?? byCode ?? "");
  return input instanceof HTMLInputElement ? input : null;
}

/** @param {HTMLFormElement} form @param {unknown} error null clears what was shown */
function show(form, error, context = "") {
  for (const input of form.querySelectorAll("input")) input.removeAttribute("aria-invalid");
  for (const place of form.querySelectorAll(".field-error")) place.textContent = "";
  const whole = find(".form-error", form);
  whole.textContent = "";
  if (error === null) return;
  const input = fieldOf(form, error);
  const place = input ? find(`#${input.id}-error`) : whole;
  place.textContent = words(error, context);
  input?.setAttribute("aria-invalid", "true");
  input?.focus();
}

/** The button that shows the password's letters. @param {HTMLFormElement} form */
function revealer(form) {
  const button = find("#reveal", form);
  const input = /** @type {HTMLInputElement} */ (find("#password", form));
  const paint = () => {
    const shown = input.type === "text";
    button.setAttribute("aria-label", t(shown ? "door.hide" : "door.show"));
    setIcon(find("svg", button), shown ? "eye-off" : "eye");
  };
  button.addEventListener("click", () => {
    input.type = input.type === "text" ? "password" : "text";
    paint();
  });
  onLanguage(paint);
  paint();
}

/** Shows the field of the second factor once the server asks for it.
 * @param {HTMLFormElement} form @param {unknown} error */
function askCode(form, error) {
  const field = form.querySelector("#code-field");
  const wanted = error instanceof ApiError && ["code_required", "bad_code"].includes(error.code);
  if (wanted && field instanceof HTMLElement) field.hidden = false;
}

/** The first field that must be filled and is not. @param {Record<string, string>} fields */
function missing(fields) {
  if (fields.name === "") return new ApiError(0, "needs_name");
  return fields.password === "" ? new ApiError(0, "needs_password") : null;
}

/** @param {Door} door */
export function open(door) {
  const form = /** @type {HTMLFormElement} */ (find("#door"));
  const button = /** @type {HTMLButtonElement} */ (find("button[type=submit]", form));
  let busy = false;
  const paint = () => {
    button.textContent = t(busy ? door.going : door.go);
    button.setAttribute("aria-disabled", String(busy));
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (busy) return;
    /** @type {Record<string, string>} */
    const fields = {};
    for (const [name, value] of new FormData(form)) fields[name] = String(value);
    const lack = missing(fields);
    show(form, lack, "register");
    if (lack) return;
    busy = true;
    paint();
    try {
      await door.send(fields);
      location.assign(onward());
    } catch (error) {
      busy = false;
      paint();
      askCode(form, error);
      show(form, error, door.context);
    }
  });
  for (const link of document.querySelectorAll("a[data-onward]")) {
    link.setAttribute("href", `${link.getAttribute("href")}${location.search}`);
  }
  onLanguage(paint);
  revealer(form);
  showPrefs(find("[data-prefs]"));
  paint();
}
