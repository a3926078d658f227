// share.js: the page of a share, for whoever has the link: its code, its folders, previews, what to
// do with it. Works without an account; saving to one's own disk needs one.
import * as api from "./api.js";
import { Browser } from "./browser.js";
import { answers, field, openDialog } from "./dialogs.js";
import { askPlace } from "./picker.js";
import { find, h, icon, note, words } from "./dom.js";
import { shortDate } from "./format.js";
import { onLanguage, t, tn } from "./i18n.js";
import { listenToKeys, showHelp } from "./keys.js";
import { openPreview } from "./preview/preview.js";
import { ready, showPrefs } from "./prefs.js";
import { choices } from "./share-dialog.js";
import { showTrail } from "./trail.js";

/** @typedef {import("./api.js").Node} Node */
/** @typedef {import("./browser.js").Place} Place */
/** @typedef {import("./types.js").SharedPage} SharedPage */

/** @type {readonly (readonly [string, import("./i18n.js").Key])[]} */
const REASONS = Object.freeze([
  ["copyright", "report.copyright"],
  ["illegal", "report.illegal"],
  ["malware", "report.malware"],
  ["other", "report.other"],
]);

/** @type {SharedPage | null} */
let share = null;

/** The share and the folder in it that the address names. */
function address() {
  const [, id = "", folder = api.ROOT] = location.hash.split("/").map(decodeURIComponent);
  return { id, folder };
}

/** @param {string} folder */
const addressOf = (folder) =>
  `#/${encodeURIComponent(address().id)}` +
  `${folder === api.ROOT ? "" : `/${encodeURIComponent(folder)}`}`;

/** @param {Node[]} nodes */
function download(nodes) {
  const { id } = address();
  const [one] = nodes;
  const file = nodes.length === 1 && one?.kind === "file";
  const link = h("a", {
    download: file ? one.name : true,
    href: file
      ? api.sharedUrl(id, one.id)
      : api.sharedZipUrl(
          id,
          nodes.map((node) => node.id),
        ),
  });
  link.click();
}

/** @param {Node[]} nodes none: everything */
async function save(nodes) {
  try {
    await api.session();
  } catch {
    const back = encodeURIComponent(`${location.pathname.split("/").pop()}${location.hash}`);
    location.assign(`login.html?next=${back}`);
    return;
  }
  const place = await askPlace({ title: t("visit.save_title"), go: "visit.save_here" });
  if (!place) return;
  try {
    const results = await api.saveShared(
      address().id,
      nodes.map((node) => node.id),
      place.id,
    );
    const bad = results.find((one) => one.error !== null);
    if (bad?.error) return note(words(new api.ApiError(400, bad.error.code)));
    note(tn("visit.saved", results.length, { folder: place.name }), {
      label: t("visit.open_disk"),
      run: () =>
        location.assign(place.id === api.ROOT ? "files.html" : `files.html#/folder/${place.id}`),
    });
  } catch (error) {
    note(words(error));
  }
}

function report() {
  const text = field("report.text", { name: "text", maxlength: 1000 });
  const form = h(
    "form",
    {
      novalidate: true,
      onsubmit: async (/** @type {Event} */ event) => {
        event.preventDefault();
        try {
          const reason = String(new FormData(form).get("reason"));
          await api.reportShare(address().id, reason, text.input.value.trim());
          dialog.close();
          note(t("report.sent"));
        } catch (error) {
          text.fail(words(error));
        }
      },
    },
    h(
      "fieldset",
      { class: "field" },
      h("legend", { t: "report.reason" }),
      choices("reason", REASONS, "copyright"),
    ),
    text.box,
    answers("report.open", () => dialog.close(), true),
  );
  const dialog = openDialog({ id: "report", title: t("report.title") }, form);
}

/** @type {import("./browser.js").Deeds} */
const deeds = {
  actions: (nodes) => [
    { label: t("deed.download"), icon: "download", run: () => download(nodes) },
    { label: t("visit.save"), icon: "save", run: () => save(nodes) },
  ],
  open: (node, place) => {
    if (node.kind === "folder") location.assign(place.addressOf(node));
    else {
      openPreview(node, browser.listing.nodes, {
        url: (one, inline) => api.sharedUrl(address().id, one.id, inline),
        thumb: place.thumb,
      });
    }
  },
  key: () => false,
  move: () => {},
  tools: () => [],
  get: (node) => (node.kind === "folder" ? null : api.sharedUrl(address().id, node.id)),
};

const browser = new Browser(find("#list-view"), deeds);
browser.onDraw = () => {
  showTrail(browser.listing.path, addressOf, share?.title ?? "");
};

/** @param {string} folder @returns {Place} */
function placeOf(folder) {
  const { id } = address();
  return {
    kind: "share",
    folder: null,
    sorts: ["name", "size", "modified"],
    title: () => browser.listing.folder?.name ?? share?.title ?? "",
    load: (ask) => api.listShared(id, folder, ask),
    addressOf: (node) => addressOf(node.id),
    thumb: (node, size) => api.thumbUrl(node, size, id),
    empty: { icon: "kind-folder", title: "visit.empty_title", text: "visit.empty_text" },
  };
}

function drawHead() {
  if (!share) return;
  const parts = [
    shortDate(share.created_ms),
    share.expires_ms === null
      ? t("share.never")
      : t("share.until", { date: shortDate(share.expires_ms) }),
    tn("shares.downloads", share.downloads),
  ];
  find("#share-owner").textContent = share.owner;
  find("#owner-avatar").textContent = Array.from(share.owner)[0]?.toUpperCase() ?? "";
  find("#share-about").textContent = parts.join(" · ");
  document.title = `${share.title} · ${t("app.name")}`;
}

/** @param {"code" | "list" | "gone"} what is shown */
function show(what) {
  find("#lock").hidden = what !== "code";
  find("#list-view").hidden = what !== "list";
  find("#gone").hidden = what !== "gone";
  find(".visitor-head").hidden = what === "gone"; // nobody is known to have shared it
  find("#share-tools").hidden = what !== "list";
}

/** @param {unknown} error */
function showGone(error) {
  find("#gone-why").textContent = words(error, "visit");
  show("gone");
}

async function open() {
  const { id, folder } = address();
  try {
    if (share?.id !== id) share = await api.share(id);
    drawHead();
    if (share.needs_code) {
      show("code");
      find("#code-input").focus();
      return;
    }
    show("list");
    await browser.open(placeOf(folder));
  } catch (error) {
    showGone(error);
  }
}

function listen() {
  const form = find("#code-form");
  const input = /** @type {HTMLInputElement} */ (find("#code-input"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const why = find("#code-input-error");
    try {
      await api.openShare(address().id, input.value.trim());
      why.textContent = "";
      if (share) share.needs_code = false;
      await open();
      find("#folder-name").focus();
    } catch (error) {
      why.textContent = words(error, "visit");
      input.setAttribute("aria-invalid", "true");
      input.focus();
    }
  });
  find("#save-all").addEventListener("click", () => save([]));
  find("#get-all").addEventListener("click", () => download([]));
  find("#report-share").addEventListener("click", report);
  find("#help").addEventListener("click", showHelp);
  listenToKeys({ "?": showHelp });
  window.addEventListener("hashchange", open);
  find("#skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address after # names the share
    find(find("#list-view").hidden ? "#code-input" : "#folder-name").focus();
  });
}

onLanguage(drawHead);
showPrefs(find("[data-prefs]"));
ready("share.title");
find("#save-all").prepend(icon("save"));
find("#get-all").prepend(icon("download"));
listen();
open();
