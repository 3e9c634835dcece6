import assert from "node:assert/strict";
import test from "node:test";

import { Catalog, defaultCatalog } from "../../../gateway/edge/shared/catalog.js";
import { Federation } from "../../../gateway/edge/shared/federation.js";
import { readList, readWorker } from "../../../gateway/edge/shared/worker_list.js";
import { Picker } from "../../../gateway/edge/shared/policy.js";
import * as views from "../../../gateway/edge/shared/views.js";
import { anyJson, seeded } from "../random.mjs";

const worker = (id, more = {}) => ({ worker_id: id, tunnel_url: "http://a.example/", ...more });

test("a worker is what its known members say", () => {
  const read = readWorker(
    worker("m1", { status: "degraded", services: ["files", { name: "ocr", url: "http://b/" }, 7], evil: 1 }),
  );
  assert.equal(read.tunnel_url, "http://a.example");
  assert.equal(read.status, "degraded");
  assert.deepEqual(
    read.services.map((service) => service.name),
    ["files", "ocr"],
  );
  assert.equal(read.services[1].url, "http://b");
  assert.equal(Object.hasOwn(read, "evil"), false);
});

test("what cannot be a worker is none", () => {
  const wrong = [null, 7, [], {}, worker(""), worker("a/b"), worker(".."), worker("x".repeat(257)), worker("a\n")];
  for (const item of [...wrong, { worker_id: "a" }, worker("a", { tunnel_url: "ftp://x" })]) {
    assert.equal(readWorker(item), null, JSON.stringify(item));
  }
  assert.notEqual(readWorker(worker("x".repeat(256))), null, "the longest id");
});

test("a list that was cut, or is none, is refused", () => {
  const whole = JSON.stringify({ workers: [worker("a"), worker("b")] });
  assert.equal(readList(whole).workers.length, 2);
  for (let end = 0; end < whole.length; end++) {
    assert.throws(() => readList(whole.slice(0, end)), /cut/);
  }
  for (const text of ["{}", "[]", "null", '{"workers": {}}', '"x"']) {
    assert.throws(() => readList(text), /workers/);
  }
});

test("lists of any content are read without harm", () => {
  const names = [
    "worker_id",
    "tunnel_url",
    "services",
    "name",
    "url",
    "status",
    "registered_at",
    "services_status",
    "assigned_services",
    "current_load",
    "queue_depth",
    "__proto__",
    "capabilities",
    "aliases",
    "path",
    "requires",
  ];
  for (let seed = 1; seed <= 3000; seed++) {
    const random = seeded(seed);
    const items = Array.from({ length: 5 }, () => {
      const item = anyJson(random, names);
      return random() < 0.7 ? Object.assign(Object(item), worker(`w${Math.floor(random() * 4)}`)) : item;
    });
    const text = JSON.stringify({ workers: items });
    const { workers } = readList(text);
    const federation = new Federation();
    federation.catalog = new Catalog(items);
    federation.takeList("r", workers);
    const picker = new Picker(random);
    for (const view of [
      views.workersView,
      views.adminWorkersView,
      views.servicesView,
      views.adminServicesView,
      views.gapsView,
      views.statsView,
    ]) {
      JSON.stringify(view(federation, 0));
    }
    JSON.stringify(views.topologyView(federation, 0, [], []));
    const chosen = picker.choose(workers, "files", new Set(), 0);
    assert.ok(chosen === null || workers.includes(chosen), `seed ${seed}`);
    assert.equal({}.polluted, undefined);
    assert.equal(Object.getPrototypeOf({}), Object.prototype);
  }
});

test("texts that were damaged are read or refused", () => {
  const whole = JSON.stringify({
    workers: [worker("a", { services: ["files"] }), worker("b")],
    catalog: [{ name: "files" }],
  });
  for (let seed = 1; seed <= 3000; seed++) {
    const random = seeded(seed);
    const at = Math.floor(random() * whole.length);
    const damaged = whole.slice(0, at) + String.fromCharCode(Math.floor(random() * 128)) + whole.slice(at + 1);
    try {
      assert.ok(readList(damaged).workers.length <= 2, `seed ${seed}`);
    } catch (error) {
      assert.match(error.message, /JSON|workers/, `seed ${seed}`);
    }
  }
});

test("a worker that two regions list counts where it registered last", () => {
  const federation = new Federation();
  const at = (second) => readWorker(worker("both", { registered_at: `2026-01-05T10:00:0${second}.000Z` }));
  federation.takeList("uk", [at(1)]);
  federation.takeList("us", [at(5)]);
  assert.equal(federation.holderOf("both"), "us");
  federation.takeList("uk", [at(1)]);
  assert.equal(federation.holderOf("both"), "us");
  federation.takeList("us", []);
  assert.equal(federation.holderOf("both"), undefined);
  federation.takeList("uk", [at(1)]);
  assert.equal(federation.holderOf("both"), "uk");
});

test("who has just registered is held before a list shows it", () => {
  const federation = new Federation();
  federation.hold("new", "uk", 1000);
  assert.equal(federation.holderOf("new"), "uk");
  federation.takeList("uk", []);
  assert.equal(federation.holderOf("new"), "uk", "that list was on its way");
  federation.takeList("uk", []);
  assert.equal(federation.holderOf("new"), undefined);
});

test("who offers a service is known anew after every change", () => {
  const federation = new Federation();
  const offering = (name) => federation.offering(name).map(({ worker: one }) => one.worker_id);
  const one = (id, more) => readWorker(worker(id, { services: ["files"], ...more }));
  assert.deepEqual(offering("files"), []);
  federation.takeList("uk", [one("a"), one("b", { status: "offline" })]);
  federation.takeList("us", [one("c", { status: "offline" })]);
  assert.deepEqual(offering("files"), ["a", "b", "c"]);
  assert.deepEqual([...federation.regionsOffering("files")], ["uk"]);
  assert.deepEqual(federation.healthyOffering("files").length, 1);
  assert.deepEqual(offering("documents"), []);
  federation.catalog = new Catalog([{ name: "files", aliases: ["documents"] }]);
  assert.deepEqual(offering("documents"), ["a", "b", "c"]);
  federation.release("a");
  assert.deepEqual(offering("files"), ["b", "c"]);
  federation.hold("b", "us", 1);
  assert.deepEqual(offering("files"), ["c"], "until a list shows it there");
  federation.dropRegion("us");
  assert.deepEqual(offering("files"), []);
});

test("a catalog gives names, aliases and paths", () => {
  assert.equal(defaultCatalog().nameOf("ocr"), "vision-ocr");
  assert.equal(defaultCatalog().services.size, 14);
  const catalog = new Catalog([
    { name: "files", aliases: ["documents", "other"], path: "/v2/{type}" },
    { name: "other" },
    { name: "bad", path: "/x\r\nHost: evil" },
    { name: "files", path: "/again" },
    7,
  ]);
  assert.equal(catalog.pathOf("documents", "/x"), "/v2/documents/x");
  assert.equal(catalog.pathOf("$&", ""), "/api/$&");
  assert.equal(catalog.nameOf("other"), "other", "a name wins over an alias");
  assert.equal(catalog.services.has("bad"), false);
});
