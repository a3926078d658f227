// admin.js: the view of those who run the drive: figures, the cluster as the tracker sees it,
// accounts, and the audit log.
import * as api from "../api.js";
import { h } from "../dom.js";
import { number, shortMoment, size } from "../format.js";
import { t } from "../i18n.js";
import { users } from "./accounts.js";
import { bars, meter } from "./charts.js";
import { table } from "./table.js";

/** @typedef {import("../types.js").Storage} Storage */
/** @typedef {import("../i18n.js").Key} Key */

/** Seconds behind its source, or silent, from which a storage is marked. */
const LAG_S_MAX = 60;
const SILENT_S_MAX = 90;
const REFRESH_MS = 10_000;
/** What the audit log calls a deed -> the texts that say it. @type {Record<string, Key[]>} */
const DEEDS = Object.freeze({
  admin_changed_user: ["audit.changed"],
  admin_made_user: ["admin.new_account"],
  admin_reset_password: ["admin.reset_password"],
  console_reset_password: ["admin.reset_password"],
  copy: ["keys.copy"],
  instant_refused: ["transfer.instant", "audit.refused"],
  login: ["login.title"],
  login_code_refused: ["totp.title", "audit.refused"],
  login_refused: ["login.title", "audit.refused"],
  mkdir: ["files.new_folder"],
  move: ["deed.move"],
  password: ["settings.change_password"],
  purge: ["deed.purge"],
  register: ["register.title"],
  rename: ["deed.rename"],
  replace: ["conflict.replace"],
  restore: ["deed.restore"],
  share: ["share.go"],
  token_made: ["token.title"],
  totp_off: ["totp.title", "totp.turn_off"],
  totp_on: ["totp.title", "totp.turn_on"],
  trash: ["deed.trash"],
  upload: ["files.upload"],
});

/** @param {Storage} one */
function health(one) {
  if (one.status !== "ACTIVE" || (one.heartbeat_s ?? 0) > SILENT_S_MAX) return "bad";
  return (one.lag_s ?? 0) > LAG_S_MAX ? "warm" : "";
}

/** @param {Storage} one */
function server(one) {
  const used = one.total_bytes - one.free_bytes;
  const state = health(one);
  const fact = (/** @type {Key} */ key, /** @type {string} */ value) => [
    h("dt", { t: key }),
    h("dd", { text: value }),
  ];
  return h(
    "li",
    { class: `server ${state}` },
    h(
      "div",
      { class: "server-head" },
      h("h3", { text: one.address }),
      h("span", {
        class: state === "bad" ? "tag bad" : state === "warm" ? "tag warm" : "tag",
        text: one.status,
      }),
    ),
    meter(
      used,
      one.total_bytes,
      t("admin.space_of", {
        used: size(used),
        total: size(one.total_bytes),
      }),
    ),
    h(
      "dl",
      {},
      ...fact(
        "admin.space",
        t("admin.space_of", { used: size(used), total: size(one.total_bytes) }),
      ),
      ...fact(
        "admin.lag",
        one.lag_s === null ? t("admin.no_source") : t("admin.seconds", { n: one.lag_s }),
      ),
      ...fact(
        "admin.heartbeat",
        one.heartbeat_s === null ? "–" : t("admin.seconds", { n: one.heartbeat_s }),
      ),
      ...fact("admin.uploads", number(one.uploads)),
      ...fact("admin.downloads", number(one.downloads)),
      ...fact("admin.version", one.version),
    ),
  );
}

/** @param {import("../types.js").Group[]} groups */
function clusterMap(groups) {
  return groups.map((group) =>
    h(
      "article",
      { class: "panel" },
      h(
        "div",
        { class: "server-head" },
        h("h3", { text: group.name }),
        h("span", {
          class: "hint",
          text: t("admin.space_of", {
            used: size(group.total_bytes - group.free_bytes),
            total: size(group.total_bytes),
          }),
        }),
      ),
      h("ul", { class: "nodes" }, ...group.storages.map(server)),
    ),
  );
}

/** @param {import("../types.js").Stats} stats @param {import("../types.js").Group[]} groups */
function figures(stats, groups) {
  const saved = stats.file_bytes - stats.blob_bytes;
  /** @type {[Key, string][]} */
  const list = [
    ["admin.users", number(stats.users)],
    ["admin.files", number(stats.files)],
    ["admin.folders", number(stats.folders)],
    ["admin.file_bytes", size(stats.file_bytes)],
    ["admin.blob_bytes", size(stats.blob_bytes)],
    ["admin.saved", size(Math.max(0, saved))],
    ["admin.open_uploads", number(stats.uploads)],
    ["admin.garbage", number(stats.garbage)],
    ["admin.storages", number(groups.reduce((sum, group) => sum + group.storages.length, 0))],
  ];
  return h(
    "dl",
    { class: "figures" },
    ...list.map(([key, value]) =>
      h("div", { class: "figure" }, h("dt", { t: key }), h("dd", { text: value })),
    ),
  );
}

/** @param {HTMLElement} place */
async function overview(place) {
  const box = h("div", {});
  place.append(box);
  const draw = async () => {
    const [stats, groups] = await Promise.all([api.stats(), api.cluster()]);
    const storages = groups.flatMap((group) => group.storages.map((one) => ({ group, one })));
    box.replaceChildren(
      h("section", { class: "full" }, h("h2", { t: "admin.figures" }), figures(stats, groups)),
      h(
        "section",
        { class: "full" },
        h("h2", { t: "admin.cluster" }),
        h("div", { class: "stack" }, ...clusterMap(groups)),
      ),
      h(
        "section",
        { class: "full" },
        h("h2", { t: "admin.load" }),
        h(
          "div",
          { class: "pair" },
          h(
            "div",
            { class: "panel" },
            h("h3", { t: "admin.chart_space" }),
            bars(
              storages.map(({ one }) => ({
                name: one.address,
                value: one.total_bytes - one.free_bytes,
                of: one.total_bytes,
                text: size(one.total_bytes - one.free_bytes),
              })),
              t("admin.chart_space"),
            ),
          ),
          h(
            "div",
            { class: "panel" },
            h("h3", { t: "admin.chart_traffic" }),
            bars(
              storages.flatMap(({ one }) => [
                { name: `↑ ${one.address}`, value: one.uploads, text: number(one.uploads) },
                { name: `↓ ${one.address}`, value: one.downloads, text: number(one.downloads) },
              ]),
              t("admin.chart_traffic"),
            ),
          ),
        ),
      ),
    );
  };
  await draw();
  const timer = setInterval(() => {
    if (!document.hidden) draw().catch(() => {}); // what is shown stays until the next answer
  }, REFRESH_MS);
  return { close: () => clearInterval(timer) };
}

/** What was done, in words; a newer server may have done what has none here.
 * @param {string} action */
function deed(action) {
  const words = Object.hasOwn(DEEDS, action) ? DEEDS[action] : undefined;
  return words ? words.map((key) => t(key)).join(" · ") : action;
}

/** @param {HTMLElement} place */
async function auditLog(place) {
  const list = table(
    ["audit.at", "audit.actor", "audit.action", "audit.address", "audit.detail"],
    async (cursor) => {
      const { entries, next } = await api.audit({ limit: 100, cursor });
      return { items: entries, next };
    },
    (entry) =>
      h(
        "tr",
        {},
        h("td", { text: shortMoment(entry.at_ms) }),
        h("td", { text: entry.actor_name ?? "–" }),
        h("td", { class: "deed", text: deed(entry.action) }),
        h("td", { text: entry.address }),
        h("td", { class: "wrap", text: entry.detail }),
      ),
  );
  place.append(h("section", { class: "full" }, list.box));
  await list.reload();
  return { speak: () => list.reload() };
}

/** @typedef {(place: HTMLElement) => Promise<{close?: () => void, speak?: () => void}>} Tab */
/** @type {Readonly<Record<string, [Key, Tab]>>} */
const TABS = Object.freeze({
  overview: ["admin.overview", overview],
  users: ["admin.users", users],
  audit: ["admin.audit", auditLog],
});

/** @param {HTMLElement} place @param {string[]} rest */
export async function open(place, rest) {
  const [wanted = ""] = rest;
  const name = Object.hasOwn(TABS, wanted) ? wanted : "overview";
  const box = h("div", {});
  place.append(
    h("div", { class: "page-head" }, h("h1", { tabindex: -1, t: "nav.admin" })),
    h(
      "nav",
      { class: "tabs", tLabel: "nav.admin" },
      ...Object.entries(TABS).map(([key, [text]]) =>
        h("a", { href: `#/admin/${key}`, t: text, "aria-current": key === name ? "page" : null }),
      ),
    ),
    box,
  );
  return (await TABS[name]?.[1](box)) ?? {};
}
