// share-dialog.js: makes a share of nodes and shows what to hand on: link, code, QR code. The code
// is known only here and now; the server keeps its hash.
import { changeShare, makeShare } from "./api.js";
import { copyText } from "./clip.js";
import { field, openDialog } from "./dialogs.js";
import { h, icon, words } from "./dom.js";
import { t, tn } from "./i18n.js";
import { qr } from "./qr.js";

/** @typedef {import("./i18n.js").Key} Key */
/** @typedef {import("./types.js").Share} Share */

const DAY_MS = 86_400_000;
/** @type {readonly (readonly [string, Key])[]} */
const EXPIRIES = Object.freeze([
  ["1", "share.day"],
  ["7", "share.week"],
  ["30", "share.month"],
  ["0", "share.never"],
]);
/** Without those that look alike: people read codes out. */
const LETTERS = "abcdefghjkmnpqrstuvwxyz23456789";
const CODE_LETTERS = 6;

/** A code that nobody guesses. */
export function newCode() {
  const random = crypto.getRandomValues(new Uint32Array(CODE_LETTERS));
  return Array.from(random, (one) => LETTERS[one % LETTERS.length]).join("");
}

/** The page of a share. @param {string} id */
export function shareUrl(id) {
  return new URL(`share.html#/${id}`, location.href).href;
}

/** What one click puts on the clipboard. @param {string} title @param {string} id
 * @param {string} code */
function handOn(title, id, code) {
  const link = shareUrl(id);
  return code === "" ? link : t("share.text", { title, link, code });
}

/** @param {string} name @param {readonly (readonly [string, Key])[]} choices @param {string} on */
export function choices(name, choices, on) {
  return h(
    "div",
    { class: "choices" },
    ...choices.map(([value, text]) => {
      const input = h("input", { type: "radio", name, value });
      input.checked = value === on;
      return h("label", {}, input, h("span", { t: text }));
    }),
  );
}

/** When something ends that is chosen in days. @param {FormDataEntryValue | null} days */
export function endOf(days) {
  const n = Number(days ?? 0);
  return n > 0 ? Date.now() + n * DAY_MS : null;
}

/** @param {Share} share @param {string} code */
async function showMade(share, code) {
  const link = h("input", {
    id: "share-link",
    readonly: true,
    value: shareUrl(share.id),
    tLabel: "share.link",
    onfocus: () => link.select(),
  });
  const dialog = openDialog({ id: "shared", title: t("share.made"), wide: true });
  const about = h(
    "div",
    { class: "stack" },
    h("div", { class: "field" }, h("label", { for: "share-link", t: "share.link" }), link),
    code === ""
      ? h("p", { class: "hint", t: "share.open_to_all" })
      : h(
          "div",
          { class: "field" },
          h("span", { t: "share.code" }),
          h("strong", { id: "share-code", class: "secret", text: code }),
          h("p", { class: "hint", t: "share.code_once" }),
        ),
    h(
      "button",
      {
        id: "copy-share",
        type: "button",
        class: "primary",
        onclick: () =>
          copyText(
            handOn(share.title, share.id, code),
            t(code === "" ? "share.copied" : "share.copied_both"),
          ),
      },
      icon("copy"),
      h("span", { t: code === "" ? "share.copy" : "share.copy_both" }),
    ),
  );
  const box = h("div", { class: "shared" }, about);
  dialog.append(box);
  about.querySelector("button")?.focus();
  box.append(await qr(shareUrl(share.id), t("share.qr")));
}

/** The end of the row of a form's buttons. @param {() => void} onCancel @param {Node} submit */
function buttons(onCancel, submit) {
  const cancel = h("button", {
    type: "button",
    class: "quiet",
    t: "app.cancel",
    onclick: onCancel,
  });
  return h("div", { class: "answers" }, cancel, submit);
}

/** What the form asks for. @param {FormData} data @param {string[]} nodes @param {boolean} open */
function wanted(data, nodes, open) {
  const code = String(data.get("code") ?? "").trim();
  const limit = Number(data.get("limit") ?? 0);
  const end = endOf(data.get("days"));
  return {
    nodes,
    public: open,
    ...(code === "" ? {} : { code }),
    ...(limit > 0 ? { download_limit: limit } : {}),
    ...(end === null ? {} : { expires_ms: end }),
  };
}

/** Opens the dialogue. @param {import("./api.js").Node[]} nodes */
export function openShare(nodes) {
  const [first] = nodes;
  if (!first) return;
  const code = field(
    "share.code",
    {
      id: "share-code-input",
      name: "code",
      value: newCode(),
      maxlength: 32,
      spellcheck: "false",
      autocapitalize: "none",
    },
    "share.code_hint",
  );
  const limit = field(
    "share.limit",
    {
      name: "limit",
      type: "number",
      min: 1,
      step: 1,
      inputmode: "numeric",
    },
    "share.limit_hint",
  );
  const open = h("input", { type: "checkbox" });
  const fail = h("p", { class: "form-error", role: "alert" });
  const submit = h("button", { type: "submit", class: "primary", t: "share.go" });
  const send = async (/** @type {Event} */ event) => {
    event.preventDefault();
    fail.textContent = "";
    submit.disabled = true;
    const form = wanted(
      new FormData(box),
      nodes.map((node) => node.id),
      open.checked,
    );
    try {
      const share = await makeShare(form);
      dialog.close();
      await showMade(share, form.code ?? "");
    } catch (error) {
      submit.disabled = false;
      fail.textContent = words(error, "share");
    }
  };
  const named =
    nodes.length === 1 ? first.name : tn("share.several", nodes.length, { name: first.name });
  const box = h(
    "form",
    { novalidate: true, onsubmit: send },
    h("p", { class: "hint", text: named }),
    code.box,
    h(
      "fieldset",
      { class: "field" },
      h("legend", { t: "share.expires" }),
      choices("days", EXPIRIES, "7"),
    ),
    limit.box,
    h("label", { class: "check" }, open, h("span", { t: "share.public" })),
    fail,
    buttons(() => dialog.close(), submit),
  );
  const dialog = openDialog({ id: "share-dialog", title: t("share.title") }, box);
}

/** Changes a share: a new code, another end. @param {Share} share @param {() => void} onChange */
export function editShare(share, onChange) {
  const fail = h("p", { class: "form-error", role: "alert" });
  const open = h("input", { type: "checkbox" });
  open.checked = share.public;
  const code = h("input", { type: "checkbox" });
  code.checked = share.has_code;
  const form = h(
    "form",
    {
      novalidate: true,
      onsubmit: async (/** @type {Event} */ event) => {
        event.preventDefault();
        const days = new FormData(form).get("days");
        const fresh = code.checked && !share.has_code ? newCode() : "";
        try {
          const changed = await changeShare(share.id, {
            public: open.checked,
            ...(days === "keep" ? {} : { expires_ms: endOf(days) }),
            ...(fresh !== "" ? { code: fresh } : {}),
            ...(!code.checked && share.has_code ? { code: null } : {}),
          });
          dialog.close();
          onChange();
          if (fresh !== "") await showMade(changed, fresh);
        } catch (error) {
          fail.textContent = words(error, "share");
        }
      },
    },
    h(
      "fieldset",
      { class: "field" },
      h("legend", { t: "share.expires" }),
      choices("days", [["keep", "share.keep"], ...EXPIRIES], "keep"),
    ),
    h("label", { class: "check" }, code, h("span", { t: "share.with_code" })),
    h("label", { class: "check" }, open, h("span", { t: "share.public" })),
    fail,
    h(
      "div",
      { class: "answers" },
      h("button", {
        type: "button",
        class: "quiet",
        t: "app.cancel",
        onclick: () => dialog.close(),
      }),
      h("button", { type: "submit", class: "primary", t: "app.save" }),
    ),
  );
  const dialog = openDialog({ id: "edit-share", title: share.title }, form);
}
