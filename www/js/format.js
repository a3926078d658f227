// format.js: sizes, dates, durations and browsers as people read them. Pure but for the language
// in use.
import { language, t } from "./i18n.js";

const UNITS = Object.freeze(["B", "KB", "MB", "GB", "TB", "PB"]);
const STEP = 1024;

/** A number of bytes, such as "1.4 GB". @param {number} bytes */
export function size(bytes) {
  let value = bytes;
  let unit = 0;
  while (value >= STEP && unit < UNITS.length - 1) {
    value /= STEP;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  const number = value.toLocaleString(language(), { maximumFractionDigits: digits });
  return `${number} ${UNITS[unit]}`;
}

/** A moment: the time if it is today, else the date. @param {number} ms @param {number} now */
export function moment(ms, now) {
  const date = new Date(ms);
  if (date.toDateString() === new Date(now).toDateString()) {
    const time = date.toLocaleTimeString(language(), { hour: "2-digit", minute: "2-digit" });
    return t("files.today", { time });
  }
  return date.toLocaleDateString(language(), { year: "numeric", month: "short", day: "numeric" });
}

/** A moment in full, for a tooltip. @param {number} ms */
export function fullMoment(ms) {
  return new Date(ms).toLocaleString(language(), { dateStyle: "full", timeStyle: "medium" });
}

/** A day, short. @param {number} ms */
export function shortDate(ms) {
  return new Date(ms).toLocaleDateString(language(), { year: "numeric", month: "short",
    day: "numeric" });
}

/** A moment, short. @param {number} ms */
export function shortMoment(ms) {
  return new Date(ms).toLocaleString(language(), { dateStyle: "medium", timeStyle: "short" });
}

/** @param {number} n */
export function number(n) {
  return n.toLocaleString(language());
}

/** How long something will still take. @param {number} seconds */
export function left(seconds) {
  const whole = Math.max(1, Math.ceil(seconds));
  if (whole < 60) return t("transfer.left_seconds", { n: whole });
  const minutes = Math.ceil(whole / 60);
  if (minutes < 60) return t("transfer.left_minutes", { n: minutes });
  return t("transfer.left_hours", { h: Math.floor(minutes / 60), m: minutes % 60 });
}

const BY_EXTENSION = Object.freeze({
  image: "jpg jpeg png gif webp avif heic bmp svg tif tiff ico",
  video: "mp4 mkv mov avi webm m4v wmv flv",
  audio: "mp3 flac wav ogg m4a aac opus wma ape",
  document: "pdf doc docx xls xlsx ppt pptx odt ods odp txt md rtf csv epub",
  archive: "zip rar 7z tar gz xz bz2 zst iso tgz",
  code: "js ts rs c h cpp py go java html css json toml yaml yml xml sh sql",
});

/** @type {Map<string, Kind>} */
const KINDS = new Map();
for (const [kind, extensions] of Object.entries(BY_EXTENSION)) {
  for (const one of extensions.split(" ")) KINDS.set(one, /** @type {Kind} */ (kind));
}

/** @typedef {"folder"|"image"|"video"|"audio"|"document"|"archive"|"code"|"other"} Kind */

/**
 * Which icon something gets. The server's category wins, except that it has none for code.
 * @param {{kind?: string, name: string, category?: string | null}} node
 * @returns {Kind}
 */
export function kindOf(node) {
  if (node.kind === "folder") return "folder";
  const dot = node.name.lastIndexOf(".");
  const guess = dot > 0 ? KINDS.get(node.name.slice(dot + 1).toLowerCase()) : undefined;
  const category = node.category ?? "other";
  if (guess === "code" || category === "other") return guess ?? "other";
  return Object.hasOwn(BY_EXTENSION, category) ? /** @type {Kind} */ (category) : "other";
}

/** A browser as people call it. @param {string} agent */
export function browserOf(agent) {
  const names = [
    ["Edg/", "Edge"],
    ["OPR/", "Opera"],
    ["Firefox/", "Firefox"],
    ["Chrome/", "Chrome"],
    ["Safari/", "Safari"],
    ["curl/", "curl"],
  ];
  const systems = [
    ["Android", "Android"],
    ["iPhone", "iPhone"],
    ["iPad", "iPad"],
    ["Windows", "Windows"],
    ["Mac OS", "macOS"],
    ["Linux", "Linux"],
  ];
  const pick = (/** @type {string[][]} */ list) =>
    list.find(([mark = ""]) => agent.includes(mark))?.[1];
  return (
    [pick(names), pick(systems)].filter((one) => one !== undefined).join(" · ") ||
    agent.slice(0, 80)
  );
}
