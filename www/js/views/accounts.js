// accounts.js: the administrator's list of accounts: who there is, how much they may keep, who may
// log in. Passwords that are made here are shown once.
import * as api from "../api.js";
import { copyText } from "../clip.js";
import { answers, confirm, field, openDialog } from "../dialogs.js";
import { h, icon, note, words } from "../dom.js";
import { shortDate, size } from "../format.js";
import { t } from "../i18n.js";
import { table } from "./table.js";

/** @typedef {import("../types.js").Account} Account */
/** @typedef {import("../i18n.js").Key} Key */

const GIB = 1024 ** 3;

/** @param {string} password @param {string} name */
function showPassword(password, name) {
  openDialog(
    { id: "new-password", title: t("admin.password_for", { name }) },
    h(
      "div",
      { class: "stack" },
      h("p", { t: "admin.password_once" }),
      h("code", { class: "secret", text: password }),
      h(
        "button",
        {
          type: "button",
          class: "quiet",
          onclick: () => copyText(password, t("admin.password_copied")),
        },
        icon("copy"),
        h("span", { t: "token.copy" }),
      ),
    ),
  );
}

/** @param {() => void} onDone */
function askAccount(onDone) {
  const name = field("door.name", { name: "name", autofocus: true }, "register.name_hint");
  const quota = field("admin.quota_gib", {
    name: "quota_bytes",
    type: "number",
    min: 0,
    step: "any",
  });
  const admin = h("input", { type: "checkbox" });
  const form = h(
    "form",
    {
      novalidate: true,
      onsubmit: async (/** @type {Event} */ event) => {
        event.preventDefault();
        try {
          const gib = Number(quota.input.value);
          const { user, password } = await api.makeAccount({
            name: name.input.value.trim(),
            role: admin.checked ? "admin" : "user",
            ...(gib > 0 ? { quota_bytes: Math.round(gib * GIB) } : {}),
          });
          dialog.close();
          onDone();
          if (password) showPassword(password, user.name);
        } catch (error) {
          name.fail(words(error, "register"));
        }
      },
    },
    name.box,
    quota.box,
    h("label", { class: "check" }, admin, h("span", { t: "admin.is_admin" })),
    answers("admin.make_account", () => dialog.close()),
  );
  const dialog = openDialog({ id: "account-dialog", title: t("admin.new_account") }, form);
}

/** A change that is sent only if something differs. @param {Account} user
 * @param {{quota: string, admin: boolean, enabled: boolean}} wanted */
function changeOf(user, { quota, admin, enabled }) {
  return {
    quota_bytes: Math.round(Number(quota) * GIB),
    ...(admin !== (user.role === "admin") ? { role: admin ? "admin" : "user" } : {}),
    ...(enabled !== (user.disabled_ms === null) ? { disabled: !enabled } : {}),
  };
}

/** @param {Account} user */
async function resetPassword(user) {
  const title = t("admin.reset_password");
  const text = t("admin.reset_text", { name: user.name });
  if (!(await confirm({ title, text, go: "admin.reset_password", danger: true }))) return;
  try {
    showPassword(await api.newPassword(user.id), user.name);
  } catch (error) {
    note(words(error));
  }
}

/** @param {Key} text @param {boolean} on */
function check(text, on) {
  const input = h("input", { type: "checkbox" });
  input.checked = on;
  return { input, box: h("label", { class: "check" }, input, h("span", { t: text })) };
}

/** @param {Account} user @param {() => void} onDone */
function editAccount(user, onDone) {
  const quota = field("admin.quota_gib", {
    name: "quota_bytes",
    type: "number",
    min: 0,
    step: "any",
    autofocus: true,
    value: String(Math.round((user.quota_bytes / GIB) * 100) / 100),
  });
  const admin = check("admin.is_admin", user.role === "admin");
  const enabled = check("admin.is_enabled", user.disabled_ms === null);
  const fail = h("p", { class: "form-error", role: "alert" });
  /** @param {Parameters<typeof api.changeAccount>[1]} change */
  const send = async (change) => {
    try {
      await api.changeAccount(user.id, change);
      dialog.close();
      onDone();
      note(t("settings.saved"));
    } catch (error) {
      fail.textContent = words(error);
    }
  };
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    send(
      changeOf(user, {
        quota: quota.input.value,
        admin: admin.input.checked,
        enabled: enabled.input.checked,
      }),
    );
  };
  const button = (/** @type {Key} */ text, /** @type {() => void} */ run) =>
    h("button", { type: "button", class: "quiet", t: text, onclick: run });
  const form = h(
    "form",
    { novalidate: true, onsubmit: submit },
    quota.box,
    admin.box,
    enabled.box,
    button("admin.reset_password", () => resetPassword(user)),
    user.totp ? button("admin.end_totp", () => send({ totp: false })) : null,
    fail,
    answers("app.save", () => dialog.close()),
  );
  const dialog = openDialog({ id: "edit-account", title: user.name }, form);
}

/** @param {Account} user @param {() => void} reload */
function accountRow(user, reload) {
  const off = user.disabled_ms !== null;
  return h(
    "tr",
    {},
    h("th", { scope: "row", class: "clip", title: user.name, text: user.name }),
    h("td", { class: "clip", title: user.nickname, text: user.nickname }),
    h(
      "td",
      {},
      h("span", {
        class: off ? "tag bad" : user.role === "admin" ? "tag" : "tag off",
        t: off ? "admin.disabled" : user.role === "admin" ? "admin.role_admin" : "admin.role_user",
      }),
    ),
    h("td", {
      text: t("admin.space_of", { used: size(user.used_bytes), total: size(user.quota_bytes) }),
    }),
    h("td", { text: user.totp ? t("admin.yes") : "–" }),
    h("td", { text: shortDate(user.created_ms) }),
    h(
      "td",
      { class: "acts" },
      h("button", {
        type: "button",
        class: "quiet small",
        t: "shares.edit",
        "aria-label": t("shares.edit_one", { title: user.name }),
        onclick: () => editAccount(user, reload),
      }),
    ),
  );
}

/** @param {HTMLElement} place */
export async function users(place) {
  let words = "";
  const list = table(
    [
      "admin.account",
      "register.nickname",
      "admin.role",
      "admin.space",
      "totp.short",
      "admin.since",
      "files.actions",
    ],
    async (cursor) => {
      const { users: all, next } = await api.accounts({ q: words, limit: 100, cursor });
      return { items: all, next };
    },
    (user) => accountRow(user, () => list.reload()),
  );
  const input = h("input", {
    type: "search",
    name: "q",
    tLabel: "admin.find",
    tPlaceholder: "admin.find",
  });
  const search = h(
    "form",
    {
      class: "field",
      role: "search",
      tLabel: "admin.find",
      onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        words = input.value.trim();
        list.reload();
      },
    },
    input,
  );
  place.append(
    h(
      "section",
      { class: "full" },
      h(
        "div",
        { class: "page-head" },
        search,
        h("button", {
          type: "button",
          class: "primary",
          t: "admin.new_account",
          onclick: () => askAccount(() => list.reload()),
        }),
      ),
      list.box,
    ),
  );
  await list.reload();
  // What is being looked for stays in its field.
  return { speak: () => list.reload() };
}
