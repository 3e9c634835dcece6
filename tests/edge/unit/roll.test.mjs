import assert from "node:assert/strict";
import test from "node:test";

if (globalThis.crypto === undefined) {
  globalThis.crypto = (await import("node:crypto")).webcrypto; /* Node 18 */
}

const { HEARTBEAT, NEWS, REGISTRATION, WORKER, coordinatorOf } = await import("../../../gateway/edge/router/bodies.js");
const { News } = await import("../../../gateway/edge/router/news.js");
const { judgeProof, makeProof } = await import("../../../gateway/edge/router/proof.js");
const { Roll } = await import("../../../gateway/edge/router/roll.js");
const { checkBody } = await import("../../../gateway/edge/shared/fields.js");
const { anyJson, seeded } = await import("../random.mjs");

const times = { timeoutMs: 300000, lateMs: 90000, graceMs: 60000 };
const who = (id) => ({ id, url: `http://${id}`, location: id, capabilities: {} });

test("who is silent is late, then off the roll", () => {
  const roll = new Roll(times);
  roll.register(who("uk"), 0);
  const entry = roll.get("uk");
  assert.equal(roll.statusOf(entry, 90000), "online");
  assert.equal(roll.statusOf(entry, 90001), "degraded");
  assert.deepEqual(roll.expire(299999), []);
  assert.equal(roll.nextExpiryMs(), 300000);
  assert.deepEqual(roll.expire(300000), ["uk"]);
  assert.equal(roll.nextExpiryMs(), null);
  assert.throws(() => roll.hear({ worker_id: "uk" }, 300001), { code: "unknown_worker" });
});

test("registering again raises the incarnation, and older heartbeats are refused", () => {
  const roll = new Roll(times);
  assert.equal(roll.register(who("uk"), 0).incarnation, 1);
  assert.equal(roll.register(who("uk"), 1).incarnation, 2);
  assert.throws(() => roll.hear({ worker_id: "uk", incarnation: 1 }, 2), { code: "stale_incarnation" });
  roll.hear({ worker_id: "uk", incarnation: 2, status: "draining" }, 3);
  assert.equal(roll.statusOf(roll.get("uk"), 3), "draining");
  roll.hear({ worker_id: "uk" }, 4);
  assert.equal(roll.statusOf(roll.get("uk"), 4), "online");
});

test("a heartbeat is written once a minute", () => {
  const roll = new Roll(times);
  roll.register(who("uk"), 0);
  let written = 0;
  for (let now = 30000; now <= 3600000; now += 30000) {
    written += roll.hear({ worker_id: "uk" }, now) === null ? 0 : 1;
  }
  assert.equal(written, 60);
});

test("what was kept comes back, and nobody is taken off for a restart of ours", () => {
  const before = new Roll(times);
  const rows = ["uk", "us"].map((id) => before.register(who(id), 0));
  /* It was away for an hour: all get a minute, once. */
  const after = new Roll(times);
  const changed = after.restore(rows, 3600000).map((row) => ({ ...row }));
  assert.equal(changed.length, 2);
  assert.equal(after.statusOf(after.get("uk"), 3600000), "reconnecting");
  after.hear({ worker_id: "uk" }, 3600001);
  assert.equal(after.statusOf(after.get("uk"), 3600001), "online");
  assert.deepEqual(after.expire(3659999), []);
  assert.deepEqual(after.expire(3660000), ["us"]);
  const again = new Roll(times);
  assert.deepEqual(again.restore(changed, 3700000), [], "not twice");
  assert.deepEqual(again.expire(3700000), ["uk", "us"]);
  /* It was away for a moment while one was silent: that one has no more time than before. */
  const short = new Roll(times);
  short.restore([{ ...rows[0], lastSeenMs: 3599000 }, rows[1]], 3600000);
  assert.deepEqual(short.expire(3600000), ["us"]);
});

test("news that is older than what is known is none", () => {
  const news = new News();
  const item = { worker_id: "uk", url: "http://uk", age_ms: 100 };
  assert.equal(news.take(item, 300000, 1000), "heard");
  assert.equal(news.take(item, 300000, 1000), "", "the same again");
  news.hear("uk", 2000);
  assert.equal(news.take({ ...item, age_ms: 1 }, 300000, 2000), "");
  assert.equal(news.take({ ...item, age_ms: 0, gone: true }, 300000, 2500), "gone");
  assert.equal(news.take({ ...item, age_ms: 3000 }, 300000, 4000), "", "an old story brings nobody back");
  assert.equal(news.take({ ...item, age_ms: 100 }, 300000, 4000), "back");
  assert.equal(news.take({ ...item, worker_id: "old", age_ms: 300000 }, 300000, 1e9), "");
  assert.equal(news.take({ worker_id: "no-url", age_ms: 0 }, 300000, 1e9), "");
});

test("what is told is what was heard here", () => {
  const news = new News();
  news.hear("uk", 1000);
  news.take({ worker_id: "us", url: "http://us", age_ms: 0 }, 300000, 1000);
  news.hear("gone", 1000);
  news.leave("gone", 1500);
  const told = news.told(who, 2000);
  assert.deepEqual(
    told.map(({ worker_id, age_ms, gone }) => [worker_id, age_ms, gone]),
    [
      ["uk", 1000, false],
      ["gone", 500, true],
    ],
  );
  news.forget(() => false, 121500);
  assert.equal(news.told(who, 121500).length, 1, "who has gone, for two minutes");
  news.forget(() => false, 121501);
  assert.equal(news.heard.size, 0);
});

test("proofs", async () => {
  /* RFC 4231, test case 2 */
  assert.equal(
    await makeProof("Jefe", "what do ya want for nothing?"),
    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
  );
  const nonce = "n";
  const proof = await makeProof("k", nonce);
  const judge = (status, text, key, isRequired = false) => judgeProof({ status, text }, { key, nonce, isRequired });
  const says = (value) => JSON.stringify({ proof: value });
  assert.equal(await judge(200, says(proof), "k", true), "");
  assert.equal(await judge(200, says(proof), "guessed"), "another");
  assert.equal(await judge(200, says(proof), undefined), "another", "it has a key, which was not announced");
  assert.equal(await judge(200, says(`${proof}0`), "k"), "another");
  assert.equal(await judge(200, says(""), "k"), "unproved");
  assert.equal(await judge(200, says(""), undefined), "");
  assert.equal(await judge(404, "", undefined), "");
  assert.equal(await judge(404, "", undefined, true), "unproved");
  assert.equal(await judge(0, "", "k"), "silent");
  assert.equal(await judge(0, "", undefined), "");
  for (const text of ["", "{", "null", "[]", '{"proof": 7}', '{"proof": {}}']) {
    assert.equal(await judge(200, text, "k"), "unproved", text);
  }
});

test("any body of the federation is taken or refused, and what is taken can be used", () => {
  const names = [
    "worker_id",
    "tunnel_url",
    "url",
    "location",
    "capabilities",
    "dht_port",
    "proof_key",
    "from",
    "coordinators",
    "age_ms",
    "gone",
    "incarnation",
    "services",
    "load",
    "queue_depth",
    "worker_type",
    "__proto__",
  ];
  let taken = 0;
  for (let seed = 1; seed <= 8000; seed++) {
    const random = seeded(seed);
    const base = [
      {},
      { worker_id: "a", url: "http://a" },
      { from: "x", coordinators: [{ worker_id: "a", age_ms: 1, url: "http://a" }] },
    ];
    const body = { ...base[Math.floor(random() * 3)], ...Object(anyJson(random, names)) };
    for (const schema of [HEARTBEAT, NEWS, REGISTRATION, WORKER]) {
      try {
        checkBody(body, schema);
      } catch (error) {
        assert.match(error.message, /^field /, `seed ${seed}: ${error.stack}`);
        continue;
      }
      taken++;
      const roll = new Roll(times);
      const items = schema === NEWS ? body.coordinators : [body];
      for (const item of schema === HEARTBEAT || schema === WORKER ? [] : items) {
        const read = coordinatorOf(item);
        assert.equal(typeof read.url, "string");
        assert.equal(typeof read.location, "string", `seed ${seed}`);
        roll.register(read, 1);
        new News().take({ age_ms: 0, ...item, worker_id: read.id }, 1000, 5000);
      }
    }
  }
  assert.ok(taken > 100, String(taken));
});
