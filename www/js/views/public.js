// public.js: the view of what everybody shares: the newest, and the most downloaded.
import { publicShares, ranking } from "../api.js";
import { h } from "../dom.js";
import { shortDate } from "../format.js";
import { t, tn } from "../i18n.js";
import { pager } from "./pager.js";

/** @typedef {import("../types.js").SharedPage} SharedPage */

/** Places of the ranking that stand out. */
const TOP = 3;

/** @param {SharedPage} share */
function about(share) {
  return [
    t("public.by", { name: share.owner }),
    shortDate(share.created_ms),
    tn("shares.downloads", share.downloads),
    tn("shares.saves", share.saves),
    tn("shares.views", share.views),
  ].join(" · ");
}

/** @param {SharedPage} share @param {number | null} place in the ranking */
function line(share, place) {
  return h(
    "li",
    { class: "line" },
    place === null
      ? null
      : h("span", { class: place < TOP ? "rank top" : "rank", text: String(place + 1) }),
    h(
      "div",
      { class: "what" },
      h("a", { href: `share.html#/${share.id}`, text: share.title }),
      h("span", { text: about(share) }),
    ),
    share.needs_code ? h("span", { class: "tag off", t: "shares.coded" }) : null,
  );
}

/** @param {HTMLElement} place */
export async function open(place) {
  const empty = /** @type {const} */ ({
    icon: "ranking",
    title: "public.empty_title",
    text: "public.empty_text",
  });
  const newest = pager({
    load: async (cursor) => {
      const { shares, next } = await publicShares({ limit: 100, cursor });
      return { items: shares, next };
    },
    draw: (share) => line(share, null),
    empty,
    label: "public.newest",
  });
  const best = pager({
    load: async () => ({ items: await ranking(), next: null }),
    draw: (share, index) => line(share, index),
    empty,
    label: "public.ranking",
  });
  place.append(
    h("div", { class: "page-head" }, h("h1", { tabindex: -1, t: "nav.public" })),
    h(
      "div",
      { class: "pair" },
      h("section", {}, h("h2", { t: "public.ranking" }), best.box),
      h("section", {}, h("h2", { t: "public.newest" }), newest.box),
    ),
  );
  await Promise.all([best.reload(), newest.reload()]);
  return {};
}
