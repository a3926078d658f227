// select.mjs: what is chosen in a list, without a page: one, more, ranges, what is gone.
import assert from "node:assert/strict";
import { load, test } from "./harness.mjs";

const [{ Selection }] = await load("select.js");
const ORDER = [..."abcdefg"];
const chosen = (selection) => [...selection.keys].sort().join("");

test("select: a range reaches from the last single choice, and is replaced by the next", () => {
  const selection = new Selection();
  selection.only("c");
  selection.reach(ORDER, "e");
  assert.equal(chosen(selection), "cde");
  selection.reach(ORDER, "a");
  assert.equal(chosen(selection), "abc");
  selection.toggle("f");
  assert.equal(chosen(selection), "abcf");
  selection.reach(ORDER, "g");
  assert.equal(chosen(selection), "abcfg");
});

test("select: without an anchor a range is one; what is gone is forgotten", () => {
  const selection = new Selection();
  selection.reach(ORDER, "d");
  assert.equal(chosen(selection), "d");
  selection.all(ORDER);
  selection.drop(["a", "d"]);
  assert.equal(chosen(selection), "bcefg");
  selection.reach(["b", "c", "e"], "zzz");
  assert.equal(chosen(selection), "bcefg");
  selection.clear();
  assert.equal(selection.size, 0);
});
