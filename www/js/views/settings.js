// settings.js: the view of one's own account: who one is, password, second factor, sessions,
// tokens, language and theme. Each part is loaded and changed by itself.
import * as api from "../api.js";
import { copyText } from "../clip.js";
import { answers, askText, confirm, field, openDialog } from "../dialogs.js";
import { h, icon, note, words } from "../dom.js";
import { browserOf, shortDate, shortMoment, size } from "../format.js";
import { t, tn } from "../i18n.js";
import { showPrefs } from "../prefs.js";
import { qr } from "../qr.js";

/** @typedef {import("../api.js").User} User */
/** @typedef {import("../i18n.js").Key} Key */
/** @typedef {(() => void)[]} Again what code has filled in, and does again in another language */

/** @type {readonly (readonly [string, Key])[]} */
const SCOPES = Object.freeze([
  ["read", "token.read"],
  ["write", "token.write"],
  ["share", "token.share"],
]);
const TOKEN_DAYS = 365;

/**
 * A form that sends, tells how it went, and shows what is wrong at its first field.
 * @param {ReturnType<typeof field>[]} fields
 * @param {Key} go
 * @param {(values: string[]) => Promise<unknown>} send
 */
function form(fields, go, send) {
  const button = h("button", { type: "submit", class: "primary", t: go });
  const box = h(
    "form",
    {
      novalidate: true,
      onsubmit: async (/** @type {Event} */ event) => {
        event.preventDefault();
        for (const one of fields) one.fail("");
        button.disabled = true;
        try {
          await send(fields.map((one) => one.input.value));
        } catch (error) {
          const named = fields.find(
            (one) => error instanceof api.ApiError && one.input.name === error.field,
          );
          (named ?? fields[0])?.fail(words(error, "settings"));
        }
        button.disabled = false;
      },
    },
    h("div", { class: "pair" }, ...fields.map((one) => one.box)),
    h("div", {}, button),
  );
  return box;
}

/** @param {Key} title @param {...(globalThis.Node | null)} content */
function part(title, ...content) {
  return h("section", {}, h("h2", { t: title }), h("div", { class: "panel stack" }, ...content));
}

/** @param {User} user */
function profile(user) {
  const nickname = field("register.nickname", {
    name: "nickname",
    value: user.nickname,
    maxlength: 64,
    autocomplete: "nickname",
  });
  const email = field("settings.email", {
    name: "email",
    type: "email",
    value: user.email ?? "",
    autocomplete: "email",
  });
  return part(
    "settings.profile",
    form([nickname, email], "app.save", async ([name = "", mail = ""]) => {
      await api.changeUser({
        nickname: name.trim(),
        email: mail.trim() === "" ? null : mail.trim(),
      });
      note(t("settings.saved"));
    }),
  );
}

function password() {
  const old = field("settings.old_password", {
    name: "password",
    type: "password",
    autocomplete: "current-password",
  });
  const fresh = field(
    "settings.new_password",
    { name: "new_password", type: "password", autocomplete: "new-password" },
    "register.password_hint",
  );
  const box = form([old, fresh], "settings.change_password", async ([before = "", after = ""]) => {
    await api.changePassword(before, after);
    box.reset();
    note(t("settings.password_changed"));
  });
  return part("door.password", box);
}

/** Shows codes that are never shown again. @param {string[]} codes */
function showCodes(codes) {
  const text = codes.join("\n");
  openDialog(
    { id: "recovery", title: t("totp.codes_title") },
    h(
      "div",
      { class: "stack" },
      h("p", { t: "totp.codes_text" }),
      h("ul", { class: "secret codes" }, ...codes.map((code) => h("li", { text: code }))),
      h(
        "button",
        { type: "button", class: "quiet", onclick: () => copyText(text, t("totp.copied")) },
        icon("copy"),
        h("span", { t: "totp.copy_codes" }),
      ),
    ),
  );
}

/** @param {{secret: string, uri: string}} begun @param {() => void} onDone */
async function confirmTotp({ secret, uri }, onDone) {
  const code = field("totp.code", {
    id: "totp-code",
    name: "code",
    inputmode: "numeric",
    autocomplete: "one-time-code",
    maxlength: 8,
  });
  const box = h(
    "form",
    {
      novalidate: true,
      onsubmit: async (/** @type {Event} */ event) => {
        event.preventDefault();
        try {
          code.fail("");
          const codes = await api.totpConfirm(code.input.value.replace(/\s/g, ""));
          dialog.close();
          onDone();
          showCodes(codes);
        } catch (error) {
          code.fail(words(error));
        }
      },
    },
    h("p", { t: "totp.scan" }),
    await qr(uri, t("totp.qr")),
    h("p", { class: "hint", t: "totp.by_hand" }),
    h("code", { id: "totp-secret", class: "secret", text: secret }),
    code.box,
    answers("totp.turn_on", () => dialog.close()),
  );
  const dialog = openDialog({ id: "totp", title: t("totp.title") }, box);
  code.input.focus();
}

/** @param {User} user @param {Again} again */
function secondFactor(user, again) {
  let on = user.totp ?? false;
  const state = h("p", {});
  const button = h("button", { id: "second-factor", type: "button", class: "quiet" });
  const paint = () => {
    state.textContent = t(on ? "totp.on_text" : "totp.off_text");
    button.textContent = t(on ? "totp.turn_off" : "totp.turn_on");
    button.classList.toggle("danger", on);
  };
  const set = (/** @type {boolean} */ now) => {
    on = now;
    paint();
  };
  const about = {
    id: "totp-password",
    title: t("totp.title"),
    label: /** @type {Key} */ ("door.password"),
    go: /** @type {Key} */ ("app.go_on"),
    type: "password",
  };
  button.addEventListener("click", () => {
    if (on) endTotp(() => set(false));
    else askText(about, async (word) => confirmTotp(await api.totpBegin(word), () => set(true)));
  });
  paint();
  again.push(paint);
  return part("totp.title", state, h("div", {}, button));
}

/** @param {() => void} onDone */
function endTotp(onDone) {
  const word = field("door.password", { type: "password", autocomplete: "current-password" });
  const code = field(
    "totp.code",
    { name: "code", autocomplete: "one-time-code" },
    "totp.or_recovery",
  );
  const box = h(
    "form",
    {
      novalidate: true,
      onsubmit: async (/** @type {Event} */ event) => {
        event.preventDefault();
        try {
          await api.totpEnd(word.input.value, code.input.value.replace(/\s/g, ""));
          dialog.close();
          onDone();
          note(t("totp.ended"));
        } catch (error) {
          (error instanceof api.ApiError && error.code === "bad_code" ? code : word).fail(
            words(error),
          );
        }
      },
    },
    word.box,
    code.box,
    answers("totp.turn_off", () => dialog.close(), true),
  );
  const dialog = openDialog({ id: "totp-off", title: t("totp.title") }, box);
}

/** @param {Again} again */
function sessions(again) {
  const list = h("ul", { class: "line-list", tLabel: "settings.sessions" });
  const load = async () => {
    const all = await api.sessions();
    list.replaceChildren(
      ...all.map((one) =>
        h(
          "li",
          { class: "line" },
          h(
            "div",
            { class: "what" },
            h("strong", { text: browserOf(one.agent) }),
            h("span", {
              text: t("settings.session_about", {
                address: one.address,
                used: shortMoment(one.used_ms),
              }),
            }),
          ),
          one.current
            ? h("span", { class: "tag", t: "settings.this_one" })
            : h("button", {
                type: "button",
                class: "quiet",
                t: "settings.end",
                "aria-label": t("settings.end_one", { name: browserOf(one.agent) }),
                onclick: () => act(() => api.endSession(one.id)),
              }),
        ),
      ),
    );
  };
  const act = (/** @type {() => Promise<unknown>} */ send) =>
    tell(async () => {
      await send();
      await load();
    });
  tell(load);
  again.push(() => tell(load));
  return h(
    "section",
    {},
    h("h2", { t: "settings.sessions" }),
    list,
    h(
      "p",
      { class: "answers" },
      h("button", {
        type: "button",
        class: "quiet danger",
        t: "settings.end_others",
        onclick: () => act(() => api.endSession()),
      }),
    ),
  );
}

/** @param {() => void} onMade */
function makeToken(onMade) {
  const name = field("token.name", { name: "name", maxlength: 100, autofocus: true });
  const word = field("door.password", {
    name: "password",
    type: "password",
    autocomplete: "current-password",
  });
  const boxes = SCOPES.map(([value, text]) => {
    const input = h("input", { type: "checkbox", value });
    input.checked = value === "read";
    return { input, box: h("label", { class: "check" }, input, h("span", { t: text })) };
  });
  const box = h(
    "form",
    {
      novalidate: true,
      onsubmit: async (/** @type {Event} */ event) => {
        event.preventDefault();
        const scopes = boxes.filter(({ input }) => input.checked).map(({ input }) => input.value);
        try {
          const { secret } = await api.makeToken({
            name: name.input.value.trim(),
            scopes,
            expires_days: TOKEN_DAYS,
            password: word.input.value,
          });
          dialog.close();
          onMade();
          openDialog(
            { id: "token-made", title: t("token.made") },
            h(
              "div",
              { class: "stack" },
              h("p", { t: "token.once" }),
              h("code", { id: "token-secret", class: "secret", text: secret }),
              h(
                "button",
                {
                  type: "button",
                  class: "quiet",
                  onclick: () => copyText(secret, t("token.copied")),
                },
                icon("copy"),
                h("span", { t: "token.copy" }),
              ),
            ),
          );
        } catch (error) {
          const wrong = error instanceof api.ApiError && error.code === "bad_credentials";
          (wrong ? word : name).fail(words(error, "settings"));
        }
      },
    },
    name.box,
    h(
      "fieldset",
      { class: "field" },
      h("legend", { t: "token.scopes" }),
      ...boxes.map((one) => one.box),
    ),
    word.box,
    answers("token.go", () => dialog.close()),
  );
  const dialog = openDialog({ id: "token", title: t("token.title") }, box);
}

/** @param {Again} again */
function tokens(again) {
  const list = h("ul", { class: "line-list", tLabel: "token.list", hidden: true });
  const load = async () => {
    const all = await api.tokens();
    list.hidden = all.length === 0;
    list.replaceChildren(
      ...all.map((one) =>
        h(
          "li",
          { class: "line" },
          h(
            "div",
            { class: "what" },
            h("strong", { text: one.name }),
            h("span", {
              text: [
                one.scopes.map((scope) => t(/** @type {Key} */ (`token.${scope}`))).join(", "),
                one.expires_ms === null
                  ? t("share.never")
                  : t("share.until", { date: shortDate(one.expires_ms) }),
                one.used_ms === null
                  ? t("token.unused")
                  : t("token.used", { used: shortMoment(one.used_ms) }),
              ].join(" · "),
            }),
          ),
          h("button", {
            type: "button",
            class: "quiet danger",
            t: "settings.end",
            "aria-label": t("settings.end_one", { name: one.name }),
            onclick: () => end(one),
          }),
        ),
      ),
    );
  };
  const end = async (/** @type {import("../types.js").Token} */ one) => {
    const about = { title: t("token.end"), text: t("token.end_text", { name: one.name }) };
    if (!(await confirm({ ...about, go: "settings.end", danger: true }))) return;
    await tell(async () => {
      await api.endToken(one.id);
      await load();
    });
  };
  tell(load);
  again.push(() => tell(load));
  return h(
    "section",
    {},
    h("h2", { t: "token.list" }),
    h("p", { class: "hint", t: "token.text" }),
    list,
    h(
      "p",
      { class: "answers" },
      h("button", {
        id: "new-token",
        type: "button",
        class: "quiet",
        t: "token.title",
        onclick: () => makeToken(() => tell(load)),
      }),
    ),
  );
}

/** @param {() => Promise<unknown>} act */
async function tell(act) {
  try {
    await act();
  } catch (error) {
    note(words(error));
  }
}

function looks() {
  const place = h("div", { class: "prefs" });
  showPrefs(place);
  return part("settings.looks", place);
}

/** Space by kind of file. @param {Again} again */
function space(again) {
  const list = h("dl", { class: "figures" });
  const load = async () => {
    const { categories, trash_bytes: bin } = await api.usage();
    const rows = categories.map(({ category, files, bytes }) => [
      t(/** @type {Key} */ (`category.${category}`)),
      size(bytes),
      tn("files.count", files),
    ]);
    rows.push([t("nav.trash"), size(bin), ""]);
    list.replaceChildren(
      ...rows.map(([name = "", bytes = "", files = ""]) =>
        h(
          "div",
          { class: "figure" },
          h("dt", { text: name }),
          h("dd", { text: bytes }),
          files === "" ? null : h("dd", { class: "hint", text: files }),
        ),
      ),
    );
  };
  tell(load);
  again.push(() => tell(load));
  return h("section", {}, h("h2", { t: "settings.space" }), list);
}

/** @param {HTMLElement} place @param {User} user */
export async function open(place, user) {
  const fresh = await api.session().catch(() => user); // the factor may have changed elsewhere
  /** @type {Again} */
  const again = [];
  place.append(
    h("div", { class: "page-head" }, h("h1", { tabindex: -1, t: "nav.settings" })),
    profile(fresh),
    looks(),
    password(),
    secondFactor(fresh, again),
    sessions(again),
    tokens(again),
    space(again),
  );
  // What is being filled in stays: the rest of the view speaks the other language by its marks.
  return { speak: () => again.forEach((one) => one()) };
}
