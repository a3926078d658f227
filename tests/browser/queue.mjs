// queue.mjs: the queue of uploads without a page: in flight, back-off, taken names, cancelling.
import assert from "node:assert/strict";
import { load, test } from "./harness.mjs";

const [{ ApiError }, upload] = await load("api.js", "upload.js");
const { IN_FLIGHT_MAX, pause, Queue, RETRY_MS_MAX, RETRY_MS_MIN, TRIES_MAX } = upload;

/** A server that answers when told to, and a clock that moves when told to. */
function world() {
  const sent = [];
  const timers = [];
  let clock = 0;
  const queue = new Queue({
    now: () => clock,
    later: (call, ms) => timers.push({ at: clock + ms, call }),
    random: () => 1,
    send: (what, onProgress) => {
      const one = { what: { ...what }, onProgress, aborted: false };
      const promise = new Promise((resolve, reject) => Object.assign(one, { resolve, reject }));
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
  return { queue, sent, settle, pass, timers };
}

const file = (name, size = 10) => ({ name, size });
const node = (name) => ({ id: name, name });
const states = (queue) => queue.items.map((item) => item.state).join(" ");

test("queue: a fixed number travels at once, the rest follows in order", async () => {
  const { queue, sent, settle } = world();
  queue.add(["a", "b", "c", "d", "e"].map((name) => file(name)), "root", "All files");
  assert.equal(sent.length, IN_FLIGHT_MAX);
  sent[1].resolve(node("b"));
  await settle();
  assert.deepEqual(sent.map((one) => one.what.name), ["a", "b", "c", "d"]);
  assert.equal(states(queue), "sending done sending sending queued");
});

test("queue: what may pass is tried again, later each time, and not for ever", async () => {
  const { queue, sent, settle, pass, timers } = world();
  queue.add([file("a")], "root", "All files");
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
  queue.add([file("a"), file("b")], "root", "All files");
  sent[0].reject(new ApiError(413, "quota_exceeded"));
  sent[1].resolve(node("b"));
  await settle();
  assert.equal(states(queue), "failed done");
});

test("queue: an answer for all covers the rest of its batch and nothing else", async () => {
  const { queue, sent, settle } = world();
  queue.add([file("a"), file("b"), file("c"), file("d")], "root", "All files");
  for (const one of sent.slice(0, 2)) one.reject(new ApiError(409, "name_taken"));
  await settle();
  assert.equal(states(queue), "asking asking sending sending");
  queue.answer(queue.asking(), "keep", true);
  assert.equal(states(queue), "sending queued sending sending");
  sent[2].reject(new ApiError(409, "name_taken"));
  await settle();
  assert.equal(queue.asking(), null, "it was answered already");
  const last = sent.filter((one) => one.what.name === "a").at(-1);
  assert.equal(last.what.conflict, "rename");
  queue.cancelAll();
  queue.add([file("e")], "root", "All files");
  sent.at(-1).reject(new ApiError(409, "name_taken"));
  await settle();
  assert.equal(queue.asking()?.name, "e");
});

test("queue: cancelling stops what travels and lets the next one go", async () => {
  const { queue, sent, settle } = world();
  queue.add(["a", "b", "c", "d"].map((name) => file(name)), "root", "All files");
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
  assert.equal(queue.add(files, "root", "All files"), 50_000);
  assert.equal(queue.flying.size, IN_FLIGHT_MAX);
  queue.cancelAll();
  assert.equal(queue.flying.size, 0);
});
