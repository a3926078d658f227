// media.js: previews video and audio by the browser's own player, which streams in ranges. What a
// file's tags claim is shown as text.
import { bytes } from "../api.js";
import { h, icon } from "../dom.js";
import { tagsOf } from "./id3.js";
import { endingOf } from "./preview.js";

/** Tags stand at the beginning; the pictures in them are not wanted. */
const TAG_BYTES = 64 * 1024;
const VIDEOS = new Set(["mp4", "webm", "mov", "mkv", "m4v", "ogv"]);

/** @type {readonly (readonly [keyof import("./id3.js").Tags, import("../i18n.js").Key])[]} */
const SHOWN = Object.freeze([
  ["title", "tag.title"],
  ["artist", "tag.artist"],
  ["album", "tag.album"],
  ["year", "tag.year"],
]);

/** @param {string} url @param {number} size */
async function readTags(url, size) {
  try {
    const { bytes: head } = await bytes(url, 0, Math.min(TAG_BYTES, size));
    return tagsOf(head);
  } catch {
    return {}; // the player says what is wrong with the file
  }
}

/** @type {import("./preview.js").Previewer} */
export async function show(node, source, stage) {
  const url = source.url(node, true);
  const video = node.media_type?.startsWith("video/") || VIDEOS.has(endingOf(node));
  const player = h(video ? "video" : "audio", {
    src: url,
    controls: true,
    preload: "metadata",
    "aria-label": node.name,
    playsinline: true,
  });
  const stop = () => {
    player.pause();
    player.removeAttribute("src");
    player.load();
  };
  if (video) {
    stage.append(player);
    return stop;
  }
  const tags = await readTags(url, node.size);
  const list = h("dl", { id: "tags" });
  for (const [key, text] of SHOWN) {
    if (tags[key]) list.append(h("dt", { t: text }), h("dd", { text: tags[key] ?? "" }));
  }
  stage.append(h("div", { class: "media" }, icon("kind-audio", "kind"), list, player));
  return stop;
}
