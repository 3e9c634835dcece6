import assert from "node:assert/strict";
import test from "node:test";

import { Picker, ejectionMs, isEligible, weightOf } from "../../../gateway/edge/shared/policy.js";
import { readWorker } from "../../../gateway/edge/shared/worker_list.js";
import { seeded } from "../random.mjs";

const worker = (id, more = {}) =>
  readWorker({ worker_id: id, tunnel_url: "http://a.example", last_heartbeat: "2026-01-05T10:00:00.000Z", ...more });

test("weights are those of the router's policy", () => {
  /* load, waiting, weight: services/router/policy_least_loaded.c and policy_weight */
  for (const [load, waiting, weight] of [
    [0, 0, 100],
    [0.42, 0, 60],
    [0.5, 1, 25],
    [1, 0, 1],
    [2, 9, 1],
    [0.9, 0, 10],
  ]) {
    assert.equal(weightOf(worker("a", { current_load: load, queue_depth: waiting })), weight, `${load} ${waiting}`);
  }
  assert.equal(weightOf(worker("a", { last_heartbeat: null })), 50, "one that said nothing");
});

test("who may get requests", () => {
  for (const [status, may] of [
    ["online", true],
    ["degraded", true],
    ["reconnecting", true],
    ["draining", false],
    ["offline", false],
    ["unknown", false],
  ]) {
    assert.equal(isEligible(worker("a", { status }), "files"), may, status);
  }
  assert.equal(isEligible(worker("a", { services_status: { files: "starting" } }), "files"), false);
  assert.equal(isEligible(worker("a", { services_status: { other: "starting" } }), "files"), true);
});

test("requests go by weight", () => {
  const picker = new Picker(seeded(1));
  const workers = [worker("free"), worker("busy", { current_load: 0.8 })];
  const counts = { free: 0, busy: 0 };
  for (let i = 0; i < 10000; i++) {
    counts[picker.choose(workers, "files", new Set(), 0).worker_id]++;
  }
  /* 100 to 20 */
  assert.ok(counts.busy > 1400 && counts.busy < 2000, JSON.stringify(counts));
});

test("who has requests in flight gets fewer", () => {
  const picker = new Picker(seeded(2));
  const workers = [worker("a"), worker("b")];
  for (let i = 0; i < 100; i++) {
    picker.begin(picker.choose(workers, "files", new Set(), 0).worker_id);
  }
  const inFlight = workers.map((one) => picker.workers.get(one.worker_id).inFlight);
  assert.ok(Math.abs(inFlight[0] - inFlight[1]) <= 10, String(inFlight));
});

test("one that is well goes before one that is not", () => {
  const picker = new Picker(seeded(3));
  const workers = [worker("late", { status: "degraded" }), worker("well")];
  assert.equal(picker.choose(workers, "files", new Set(), 0).worker_id, "well");
  assert.equal(picker.choose(workers, "files", new Set(["well"]), 0).worker_id, "late");
  assert.equal(picker.choose(workers, "files", new Set(["well", "late"]), 0), null);
});

test("who cannot be reached is left out, for longer each time, but better than nobody", () => {
  const picker = new Picker(seeded(4));
  const workers = [worker("a"), worker("b")];
  const fail = (nowMs) => {
    picker.begin("a");
    picker.end("a", "unreachable", nowMs);
  };
  fail(0);
  const isChosen = (nowMs) =>
    Array.from({ length: 50 }, () => picker.choose(workers, "files", new Set(), nowMs).worker_id).includes("a");
  assert.equal(isChosen(999), false);
  assert.equal(isChosen(1000), true);
  fail(1000);
  fail(2000);
  assert.equal(isChosen(6999), false, "three in a row: five seconds");
  assert.equal(isChosen(7000), true);
  fail(7000);
  assert.equal(isChosen(16999), false);
  assert.equal(picker.choose([workers[0]], "files", new Set(), 8000).worker_id, "a");
  picker.begin("a");
  picker.end("a", "reached", 17000);
  assert.equal(picker.workers.size, 0, "and all is forgotten");
  assert.deepEqual([1, 2, 7, 100].map(ejectionMs), [5000, 10000, 300000, 300000]);
});
