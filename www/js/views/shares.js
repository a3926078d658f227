// shares.js: the view of one's own shares: what is shared, until when, how often it was used.
import { listShares, stopShare } from "../api.js";
import { copyText } from "../clip.js";
import { confirm } from "../dialogs.js";
import { h, icon, note, words } from "../dom.js";
import { kindOf, shortDate } from "../format.js";
import { t, tn } from "../i18n.js";
import { editShare, shareUrl } from "../share-dialog.js";
import { pager } from "./pager.js";

/** @typedef {import("../types.js").Share} Share */
/** @typedef {import("../i18n.js").Key} Key */

const TAGS = Object.freeze({
  live: "tag",
  expired: "tag off",
  used_up: "tag warm",
  stopped: "tag off",
});

/** @param {Share} share */
function about(share) {
  const parts = [
    share.expires_ms === null
      ? t("share.never")
      : t("share.until", {
          date: shortDate(share.expires_ms),
        }),
    tn("shares.views", share.views),
    tn("shares.saves", share.saves),
    share.download_limit === null
      ? tn("shares.downloads", share.downloads)
      : t("shares.downloads_of", { n: share.downloads, limit: share.download_limit }),
  ];
  return parts.join(" · ");
}

/** @param {Share} share @param {() => void} reload */
function line(share, reload) {
  const [node] = share.nodes;
  const kind = node ? kindOf(node) : "other";
  const live = share.state === "live";
  const stop = async () => {
    const text = t("shares.stop_text", { title: share.title });
    if (!(await confirm({ title: t("shares.stop"), text, go: "shares.stop", danger: true })))
      return;
    try {
      await stopShare(share.id);
      reload();
    } catch (error) {
      note(words(error));
    }
  };
  return h(
    "li",
    { class: "line", "data-kind": kind },
    icon(`kind-${kind}`, "kind"),
    h(
      "div",
      { class: "what" },
      h("a", { href: `share.html#/${share.id}`, text: share.title }),
      h("span", { text: about(share) }),
    ),
    h(
      "div",
      { class: "line-end" },
      share.has_code ? h("span", { class: "tag off", t: "shares.coded" }) : null,
      share.public ? h("span", { class: "tag off", t: "shares.public" }) : null,
      h("span", { class: TAGS[share.state], t: `shares.${share.state}` }),
    ),
    h(
      "div",
      { class: "line-end" },
      ...(!live
        ? []
        : [
            h(
              "button",
              {
                type: "button",
                class: "quiet",
                onclick: () => copyText(shareUrl(share.id), t("share.copied")),
              },
              icon("link"),
              h("span", { t: "share.copy" }),
            ),
            h("button", {
              type: "button",
              class: "quiet",
              t: "shares.edit",
              "aria-label": t("shares.edit_one", { title: share.title }),
              onclick: () => editShare(share, reload),
            }),
            h("button", {
              type: "button",
              class: "quiet danger",
              t: "shares.stop",
              "aria-label": t("shares.stop_one", { title: share.title }),
              onclick: stop,
            }),
          ]),
    ),
  );
}

/** @param {HTMLElement} place */
export async function open(place) {
  const list = pager({
    load: async (cursor) => {
      const { shares, next } = await listShares({ limit: 100, cursor });
      return { items: shares, next };
    },
    draw: (share) => line(share, () => list.reload()),
    empty: { icon: "share", title: "shares.empty_title", text: "shares.empty_text" },
    label: "nav.shares",
  });
  place.append(
    h("div", { class: "page-head" }, h("h1", { tabindex: -1, t: "nav.shares" })),
    list.box,
  );
  await list.reload();
  return {
    changed: (/** @type {ReadonlySet<string>} */ kinds) => {
      if (kinds.has("shares") || kinds.has("open")) list.reload();
    },
  };
}
