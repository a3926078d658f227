// queue.mjs: the queue of uploads without a page: in flight, back-off, taken names, cancelling.
import assert from "node:assert/strict";
import { load, test } from "./harness.mjs";

const [{ ApiError }, upload] = await load("api.js", "upload.js");
const { IN_FLIGHT_MAX, pause, Queue, RETRY_MS_MAX, RETRY_MS_MIN, TRIES_MAX } = upload;

/** A server that answers when told to, and a clock that moves when told to. */
function world() {
  const sent = [];
  const given = [];
  const timers = [];
  let clock = 0;
  const queue = new Queue({
    now: () => clock,
    later: (call, ms) => timers.push({ at: clock + ms, call }),
    random: () => 1,
    give: (item) => given.push(item.upload),
    send: (item, events) => {
      const one = { item, events, conflict: item.conflict, aborted: false };
      const promise = new Promise((resolve, reject) => Object.assign(one, { reject,
        resolve: (node) => resolve({ node, instant: false }) }));
      sent.push(one);
      return {
        promise,
        abort: () => {
          one.aborted = true;
          one.reject(new ApiError(0, "aborted"));
        },
      };
    },
  });
  const settle = () => new Promise((resolve) => setTimeout(resolve, 0));
  const pass = async (ms) => {
    clock += ms;
    for (const timer of timers.splice(0)) {
      if (timer.at <= clock) timer.call();
      else timers.push(timer);
    }
    await settle();
  };
  return { queue, sent, given, settle, pass, timers };
}

const file = (name, size = 10) => ({ file: { name, size, lastModified: 7 }, path: "" });
const HOME = { parent: "root", place: "All files" };
const node = (name) => ({ id: name, name });
const states = (queue) => queue.items.map((item) => item.state).join(" ");

test("queue: a fixed number travels at once, the rest follows in order", async () => {
  const { queue, sent, settle } = world();
  queue.add(["a", "b", "c", "d", "e"].map((name) => file(name)), HOME);
  assert.equal(sent.length, IN_FLIGHT_MAX);
  sent[1].resolve(node("b"));
  await settle();
  assert.deepEqual(sent.map((one) => one.item.name), ["a", "b", "c", "d"]);
  assert.equal(states(queue), "sending done sending sending queued");
});

test("queue: what may pass is tried again, later each time, and not for ever", async () => {
  const { queue, sent, settle, pass, timers } = world();
  queue.add([file("a")], HOME);
  const pauses = [];
  for (let attempt = 1; attempt < TRIES_MAX; attempt += 1) {
    sent.at(-1).reject(new ApiError(503, "unavailable"));
    await settle();
    assert.equal(states(queue), "waiting");
    pauses.push(timers[0].at - queue.ports.now());
    await pass(pauses.at(-1) - 1);
    assert.equal(sent.length, attempt, "not before its time");
    await pass(1);
    assert.equal(sent.length, attempt + 1);
  }
  assert.equal(pauses[0], RETRY_MS_MIN);
  assert.ok(pauses.every((ms, index) => index === 0 || ms >= pauses[index - 1]));
  sent.at(-1).reject(new ApiError(503, "unavailable"));
  await settle();
  assert.equal(states(queue), "failed");
  queue.retry(queue.items[0]);
  assert.equal(states(queue), "sending");
});

test("queue: pauses grow to a limit and obey the server", () => {
  assert.equal(pause(1, null, 1), RETRY_MS_MIN);
  assert.equal(pause(30, null, 1), RETRY_MS_MAX);
  assert.equal(pause(1, 90_000, 0), 90_000);
  assert.ok(pause(3, null, 0) < pause(3, null, 1));
});

test("queue: what cannot pass fails at once; the others go on", async () => {
  const { queue, sent, settle } = world();
  queue.add([file("a"), file("b")], HOME);
  sent[0].reject(new ApiError(413, "quota_exceeded"));
  sent[1].resolve(node("b"));
  await settle();
  assert.equal(states(queue), "failed done");
});

test("queue: an answer for all covers the rest of its batch and nothing else", async () => {
  const { queue, sent, settle } = world();
  queue.add([file("a"), file("b"), file("c"), file("d")], HOME);
  for (const one of sent.slice(0, 2)) one.reject(new ApiError(409, "name_taken"));
  await settle();
  assert.equal(states(queue), "asking asking sending sending");
  queue.answer(queue.asking(), "keep", true);
  assert.equal(states(queue), "sending queued sending sending");
  sent[2].reject(new ApiError(409, "name_taken"));
  await settle();
  assert.equal(queue.asking(), null, "it was answered already");
  const last = sent.filter((one) => one.item.name === "a").at(-1);
  assert.equal(last.conflict, "rename");
  queue.cancelAll();
  queue.add([file("e")], HOME);
  sent.at(-1).reject(new ApiError(409, "name_taken"));
  await settle();
  assert.equal(queue.asking()?.name, "e");
});

test("queue: cancelling stops what travels and lets the next one go", async () => {
  const { queue, sent, settle } = world();
  queue.add(["a", "b", "c", "d"].map((name) => file(name)), HOME);
  queue.cancel(queue.items[0]);
  await settle();
  assert.ok(sent[0].aborted);
  assert.equal(states(queue), "cancelled sending sending sending");
  queue.clear();
  assert.equal(queue.items.length, 3);
});

test("queue: 50,000 files are taken in without a stop", () => {
  const { queue } = world();
  const files = Array.from({ length: 50_000 }, (_, index) => file(`f${index}`));
  assert.equal(queue.add(files, HOME), 50_000);
  assert.equal(queue.flying.size, IN_FLIGHT_MAX);
  queue.cancelAll();
  assert.equal(queue.flying.size, 0);
});

test("queue: what was stored may be replaced, and an answer for all does that, too", async () => {
  const { queue, sent, settle } = world();
  queue.add([file("a"), file("b")], HOME);
  for (const one of sent.slice(0, 2)) one.reject(new ApiError(409, "name_taken"));
  await settle();
  queue.answer(queue.asking(), "replace", true);
  assert.deepEqual(sent.slice(2).map((one) => one.conflict), ["replace", "replace"]);
});

test("queue: a paused file leaves the air, keeps its place in the bytes, and goes on", async () => {
  const { queue, sent, settle, given } = world();
  queue.add([file("a", 100)], HOME);
  const [item] = queue.items;
  item.upload = "u1";
  sent[0].events.phase("sending");
  sent[0].events.progress(40);
  queue.pause(item);
  await settle();
  assert.ok(sent[0].aborted);
  assert.equal(states(queue), "paused");
  assert.equal(item.sent, 40);
  queue.retry(item);
  assert.equal(states(queue), "sending");
  assert.equal(item.upload, "u1", "the same upload goes on");
  queue.cancel(item);
  assert.deepEqual(given, ["u1"], "what the server kept is given up");
});

test("queue: pausing and resuming all, while more wait than travel", async () => {
  const { queue, sent, settle } = world();
  queue.add(["a", "b", "c", "d", "e"].map((name) => file(name)), HOME);
  queue.pauseAll();
  await settle();
  assert.equal(states(queue), "paused paused paused paused paused");
  assert.equal(sent.length, IN_FLIGHT_MAX, "none of the waiting ones took off meanwhile");
  queue.resumeAll();
  assert.equal(states(queue), "sending sending sending queued queued");
});

test("queue: an unreachable server is waited for, however long; a byte more counts", async () => {
  const { queue, sent, settle, pass, timers } = world();
  queue.add([file("a", 1000)], HOME);
  for (let tries = 0; tries < 3 * TRIES_MAX; tries += 1) {
    sent.at(-1).reject(new ApiError(0, "unreachable"));
    await settle();
    assert.equal(states(queue), "waiting");
    await pass(timers[0].at - queue.ports.now());
  }
  for (let bytes = 1; bytes <= 3 * TRIES_MAX; bytes += 1) {
    sent.at(-1).events.progress(bytes);
    sent.at(-1).reject(new ApiError(0, "stalled"));
    await settle();
    assert.equal(states(queue), "waiting");
    await pass(timers[0].at - queue.ports.now());
  }
});

test("queue: after a reload an item takes the same file again, and no other", async () => {
  const { queue, sent } = world();
  const kept = { name: "a", size: 10, modified: 7, parent: "root", path: "", place: "All files",
    conflict: "fail", sums: null, upload: "u1", sent: 4, handle: null };
  const item = queue.restore(kept);
  assert.equal(states(queue), "lost");
  assert.equal(queue.found(item, { name: "a", size: 11, lastModified: 7 }), false);
  assert.equal(queue.found(item, { name: "a", size: 10, lastModified: 8 }), false);
  assert.equal(sent.length, 0);
  assert.equal(queue.add([file("a")], HOME), 1, "dropping it again is enough");
  assert.equal(queue.items.length, 1);
  assert.equal(sent[0].item, item);
  assert.equal(item.upload, "u1");
});
