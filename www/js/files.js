// files.js: the drive's page: who is logged in, which view is open, and the uploads, which go on
// while views change. The next views (recycle bin, shares, …) are entries of VIEWS.
import { logout, ROOT, session, upload } from "./api.js";
import { askConflict, askFolder } from "./dialogs.js";
import { find, note, say, words } from "./dom.js";
import { arrived, here, openFolder } from "./folder.js";
import { size } from "./format.js";
import { onLanguage, t, tn } from "./i18n.js";
import { ready, showPrefs } from "./prefs.js";
import { Panel } from "./transfers.js";
import { Queue, settled } from "./upload.js";

/** @typedef {import("./api.js").User} User */

/**
 * The first word of the address -> what shows it.
 * @type {Record<string, (rest: string) => unknown>}
 */
const VIEWS = {
  "": () => showFolder(ROOT),
  folder: (id) => showFolder(decodeURIComponent(id)),
};

/** Where a change of the used space is asked for after the last upload. */
const USAGE_MS = 800;

/** @type {User | null} */
let user = null;

/** Leaves for the log-in page, to come back here afterwards. */
function leave() {
  const query = new URLSearchParams();
  if (location.hash.startsWith("#/")) query.set("next", location.hash);
  if (user) query.set("ended", "yes"); // somebody was logged in a moment ago: say what happened
  location.assign(`login.html?${query}`);
}

/** @param {unknown} error */
function isEnded(error) {
  return error instanceof Error && "code" in error && error.code === "unauthenticated";
}

function route() {
  const [, view = "", rest = ""] = location.hash.split("/");
  (VIEWS[view] ?? VIEWS[""])?.(rest);
}

/** @param {string} id */
async function showFolder(id) {
  if (isEnded(await openFolder(id))) leave();
}

function drawUser() {
  if (!user) return;
  const called = user.nickname || user.name;
  find("#avatar").textContent = Array.from(called)[0]?.toUpperCase() ?? "";
  find("#account").setAttribute("aria-label", t("account.menu", { name: called }));
  find("#account-nickname").textContent = called;
  find("#account-name").textContent = user.name;
  const { used_bytes: used, quota_bytes: quota } = user;
  const share = quota > 0 ? Math.min(1, used / quota) : 0;
  const meter = find("#gauge");
  meter.setAttribute("aria-valuenow", String(Math.round(share * 100)));
  const text = quota > 0 ? t("usage.of", { used: size(used), quota: size(quota) })
    : t("usage.only", { used: size(used) });
  meter.setAttribute("aria-valuetext", text);
  meter.dataset.full = share > 0.95 ? "full" : share > 0.8 ? "near" : "";
  find("#gauge-fill").style.inlineSize = `${share * 100}%`;
  find("#usage-text").textContent = text;
  find("#usage").hidden = false;
}

async function loadUser() {
  try {
    user = await session();
    drawUser();
  } catch (error) {
    if (isEnded(error)) leave();
    // Anything else: the list shows that the server cannot be reached, with a way to try again.
  }
}

const queue = new Queue({
  send: upload,
  now: () => performance.now(),
  later: (call, ms) => setTimeout(call, ms),
  random: Math.random,
});
const transfers = new Panel(queue, () => performance.now());
let usageTimer = 0;

queue.onChange = (/** @type {import("./upload.js").Item} */ item) => {
  transfers.changed(item);
  if (item.state === "done" && item.node) {
    arrived(item.node);
    clearTimeout(usageTimer);
    usageTimer = window.setTimeout(loadUser, USAGE_MS);
  }
  if (item.state === "asking") askNext();
};

function askNext() {
  const item = queue.asking();
  if (!item || document.querySelector("dialog[open]")) return;
  askConflict(item, (answer, forAll) => {
    queue.answer(item, answer, forAll);
    askNext();
  });
}

/** @param {Iterable<File>} files */
function send(files) {
  const { id, name } = here();
  const added = queue.add(files, id, name);
  if (added === 0) return;
  transfers.fold(false);
  say(tn("transfer.said_added", added));
}

/** The files of a drop; folders among them are counted, not read. @param {DataTransfer} data */
function filesOf(data) {
  const files = [];
  let folders = 0;
  for (const item of data.items) {
    if (item.kind !== "file") continue;
    const file = item.getAsFile();
    if (item.webkitGetAsEntry()?.isDirectory) folders += 1;
    else if (file) files.push(file);
  }
  return { files, folders };
}

function takeDrops() {
  const curtain = find("#drop");
  let depth = 0;
  /** @param {DragEvent} event @param {number} by */
  const move = (event, by) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    depth = Math.max(0, depth + by);
    find("#drop-text").textContent = t("files.drop", { folder: here().name });
    curtain.hidden = depth === 0;
  };
  window.addEventListener("dragenter", (event) => move(event, 1));
  window.addEventListener("dragleave", (event) => move(event, -1));
  window.addEventListener("dragover", (event) => move(event, 0));
  window.addEventListener("drop", (event) => {
    move(event, -depth);
    if (!event.dataTransfer) return;
    const { files, folders } = filesOf(event.dataTransfer);
    if (folders > 0) note(t("files.no_folders"));
    send(files);
  });
}

function takeChoices() {
  const picker = /** @type {HTMLInputElement} */ (find("#picker"));
  for (const button of document.querySelectorAll("[data-pick]")) {
    button.addEventListener("click", () => picker.click());
  }
  picker.addEventListener("change", () => {
    send(picker.files ?? []);
    picker.value = "";
  });
  find("#make-folder").addEventListener("click", () => askFolder(here().id, arrived));
}

async function end() {
  try {
    await logout();
    location.assign("login.html");
  } catch (error) {
    if (isEnded(error)) leave();
    else note(words(error));
  }
}

find("#log-out").addEventListener("click", end);
find("#skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address after # names the view
  find("#folder-name").focus();
});
find("#new-folder").addEventListener("close", askNext);
window.addEventListener("hashchange", route);
window.addEventListener("online", () => queue.wake());
window.addEventListener("offline", () => note(t("files.offline")));
window.addEventListener("beforeunload", (event) => {
  if (queue.items.some((item) => !settled(item))) event.preventDefault();
});
takeDrops();
takeChoices();
showPrefs(find("[data-prefs]"));
onLanguage(drawUser);
ready("files.title");
loadUser();
route();
