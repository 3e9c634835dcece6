import assert from "node:assert/strict";
import test from "node:test";

import * as pool from "../../../gateway/edge/router/pool.js";
import { seeded } from "../random.mjs";

const candidate = (more = {}) => ({
  location: "",
  place: null,
  standing: pool.newStanding(),
  queueDepth: 0,
  healthy: true,
  offers: true,
  ...more,
});

const at = (latency) => ({ standing: { ...pool.newStanding(), latencyMs: latency } });

test("weights are the seeds' formula", () => {
  const isAbout = (weight, expected) => assert.ok(Math.abs(weight - expected) < 1e-12, `${weight} ${expected}`);
  isAbout(pool.weightOf(candidate(at(9))), 1 / 10);
  isAbout(pool.weightOf(candidate({ ...at(9), queueDepth: 4 })), 1 / 50);
  isAbout(pool.weightOf(candidate({ ...at(9), healthy: false })), 1 / 20);
  isAbout(pool.weightOf(candidate()), 1 / 101); /* not measured */
});

test("who is near", () => {
  for (const [here, continent, there, rank] of [
    ["uk", "", "UK", 0],
    ["uk-london", "", "uk", 1],
    ["uk", "", "uk-london", 1],
    ["uk", "", "ukraine", 2],
    ["", "", "uk", 2],
    ["uk", "", "", 2],
    ["gb", "eu", "EU", 1],
    ["", "", "", 2],
  ]) {
    assert.equal(pool.nearness(here, continent, there), rank, `${here} ${continent} ${there}`);
  }
  const london = { latitude: 51.5, longitude: -0.13 };
  const paris = { latitude: 48.85, longitude: 2.35 };
  assert.ok(Math.abs(pool.distanceKm(london, paris) - 343) < 5);
  assert.equal(pool.distanceKm(london, london), 0);
});

test("the order: in the pool, offering, close, then at random by weight", () => {
  const out = { standing: { ...pool.newStanding(), out: true } };
  const order = (list, wish) => pool.orderOf(list, wish, seeded(1));
  assert.deepEqual(order([candidate(out), candidate({ offers: false }), candidate()], { offers: true }), [2, 1, 0]);
  const places = [candidate({ location: "us" }), candidate({ location: "uk-london" }), candidate({ location: "uk" })];
  assert.deepEqual(order(places, { closest: true, location: "uk" }), [2, 1, 0]);
  const london = { latitude: 51.5, longitude: -0.13 };
  const far = [candidate(), candidate({ place: { latitude: 40, longitude: -74 } }), candidate({ place: london })];
  assert.deepEqual(order(far, { closest: true, place: london }), [2, 1, 0]);
  assert.deepEqual(order([candidate(at(80)), candidate(at(1)), candidate(at(20))], { closest: true }), [1, 2, 0]);
  assert.deepEqual(order([], { closest: true }), []);
  const random = seeded(2);
  let first = 0;
  for (let i = 0; i < 10000; i++) {
    first += pool.orderOf([candidate(at(9)), candidate(at(39))], {}, random)[0] === 0 ? 1 : 0;
  }
  assert.ok(first > 7800 && first < 8200, `four to one, not ${first}`);
});

test("out at once, back at once the first time, later after a time that doubles", () => {
  const standing = pool.newStanding();
  assert.equal(pool.noteFailure(standing, 0), true);
  assert.equal(pool.noteFailure(standing, 1), false, "it was out already");
  assert.equal(pool.noteAnswer(standing, 5, 2), true);
  pool.noteFailure(standing, 1000);
  assert.equal(pool.noteAnswer(standing, 5, 5999), false);
  assert.equal(pool.noteAnswer(standing, 5, 6000), true);
  pool.noteFailure(standing, 7000);
  assert.equal(pool.noteAnswer(standing, 5, 16999), false);
  assert.equal(pool.noteAnswer(standing, 5, 17000), true);
  pool.noteFailure(standing, 7000 + 600000);
  assert.equal(pool.noteAnswer(standing, 5, 7000 + 600001), true, "all is forgiven");
});

test("an order is one of all of them, whatever the figures are", () => {
  for (let seed = 1; seed <= 2000; seed++) {
    const random = seeded(seed);
    const odd = () => [0, 1e308, 5, Number.MIN_VALUE][Math.floor(random() * 4)];
    const list = Array.from({ length: Math.floor(random() * 8) }, () =>
      candidate({
        ...at(odd()),
        queueDepth: odd(),
        place: random() < 0.5 ? null : { latitude: 180 * random() - 90, longitude: 0 },
      }),
    );
    const order = pool.orderOf(
      list,
      { closest: random() < 0.5, offers: true, place: { latitude: 0, longitude: 0 } },
      random,
    );
    assert.deepEqual(
      [...order].sort((a, b) => a - b),
      list.map((_, number) => number),
      `seed ${seed}`,
    );
  }
});
