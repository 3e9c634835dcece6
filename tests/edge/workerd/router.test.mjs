/**
 * The edge router of gateway/edge in workerd, beside servers that play coordinators and workers: what goes wrong on the
 * way. The contract itself is in tests/integration/edge_test.cc, which runs against the program and the script.
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";

import {
  Cleanup,
  eventually,
  get,
  httpServer,
  listed,
  lister,
  nobody,
  post,
  script,
  tcpServer,
  worker,
} from "../peers.mjs";

const open = { ALLOW_PRIVATE_URLS: "true", COORDINATOR_PROOF: "optional", REGION_INTERVAL_SECONDS: "0.2" };

/** POST /api/edge/register. */
async function register(router, id, coordinator, more = {}) {
  const answer = await post(`${router.url}/api/edge/register`, {
    worker_id: id,
    url: coordinator.url,
    location: id,
    ...more,
  });
  assert.equal(answer.status, 200, answer.text);
  return answer.json;
}

const coordinators = async (router) => (await get(`${router.url}/api/admin/coordinators`)).json;
const inPool = (router, id) =>
  eventually(async () => (await coordinators(router)).find((one) => one.worker_id === id)?.in_pool === true);

/** A coordinator that relays as real ones do. */
async function relaying(cleanup, id, machine) {
  const coordinator = await lister(cleanup, [listed(`w-${id}`, machine.url)]);
  const relay = async (request, response) => {
    const chunks = [];
    for await (const chunk of request) {
      chunks.push(chunk);
    }
    response.writeHead(200, { "X-Served-By": `w-${id}` });
    response.end(`${id} ${Buffer.concat(chunks).length} ${request.headers["x-muster-hops"] ?? ""}`);
  };
  coordinator.others["/api/service/files"] = relay;
  coordinator.others["/api/worker/register"] = (request, response) => {
    request.resume();
    response.end(JSON.stringify({ status: "registered", worker_id: "new" }));
  };
  return coordinator;
}

test("bodies that cannot be are refused, and nothing of them stays", async (context) => {
  const cleanup = new Cleanup(context);
  const router = await script(cleanup, "router", open);
  const uk = await lister(cleanup);
  for (const [path, body, status] of [
    ["/api/edge/register", "{", 400],
    ["/api/edge/register", "", 400],
    ["/api/edge/register", "\ufeff{}", 400],
    ["/api/edge/register", "[]", 422],
    ["/api/edge/register", {}, 422],
    ["/api/edge/register", { url: 7 }, 422],
    ["/api/edge/register", { url: "ftp://x" }, 422],
    ["/api/edge/register", { url: uk.url, worker_id: "a/b" }, 422],
    ["/api/edge/register", { url: uk.url, worker_id: "x".repeat(257) }, 422],
    ["/api/edge/register", { url: uk.url, capabilities: { location: 7 } }, 422],
    ["/api/edge/register", { url: uk.url, capabilities: { x: "x".repeat(65536) } }, 422],
    ["/api/edge/heartbeat", {}, 422],
    ["/api/edge/heartbeat", { worker_id: "nobody" }, 404],
    ["/api/edge/heartbeat", { worker_id: "nobody", workers: -1 }, 422],
    ["/api/edge/heartbeat", { worker_id: "nobody", services: { a: "b" } }, 422],
    ["/api/worker/heartbeat", { worker_id: "nobody", x: "x".repeat(61 * 1024) }, 413],
    ["/api/edge/peers", { from: "x" }, 422],
    ["/api/edge/peers", { from: "x", coordinators: [{ worker_id: "a" }] }, 422],
    ["/api/worker/register", { worker_type: "tpu", url: uk.url }, 422],
    ["/api/worker/register", "null", 422],
    ["/api/worker/heartbeat", { worker_id: 7 }, 422],
    ["/api/coordinator/broadcast-job", {}, 422],
    ["/api/coordinator/broadcast-job", { job_type: "x" }, 503],
  ]) {
    const answer = await post(`${router.url}${path}`, body);
    assert.equal(answer.status, status, `${path} ${JSON.stringify(body).slice(0, 80)} ${answer.text.slice(0, 200)}`);
    assert.equal(answer.json.detail, answer.json.message);
  }
  const broken = await get(`${router.url}/api/edge/register`, {
    method: "POST",
    body: Buffer.from([0x22, 0xff, 0x22]),
  });
  assert.equal(broken.status, 400);
  assert.deepEqual(await coordinators(router), []);
  assert.equal((await get(`${router.url}/api/edge/challenge?nonce=1`)).status, 404, "it is no coordinator");
  assert.equal((await get(`${router.url}/api/edge/register`)).headers.get("allow"), "POST");
  assert.equal((await get(`${router.url}/api/admin/history`)).status, 422);
});

test("what is kept outlives the object, and a silent coordinator is off without anybody asking", async (context) => {
  const cleanup = new Cleanup(context);
  const dataDir = mkdtempSync(join(process.env.TEST_TMPDIR ?? tmpdir(), "object-"));
  const uk = await lister(cleanup);
  const first = await script(cleanup, "router", open, { dataDir });
  await register(first, "uk", uk, { capabilities: { location: "uk", dht_port: 7, latitude: 51.5, longitude: 0 } });
  assert.equal((await register(first, "uk", uk)).incarnation, 2);
  await post(`${first.url}/api/admin/workers/uk/drain`, "");
  const [before] = await coordinators(first);
  assert.equal(before.status, "draining");
  await first.stop();
  const second = await script(cleanup, "router", open, { dataDir });
  const [after] = await coordinators(second);
  assert.deepEqual(
    [after.worker_id, after.tunnel_url, after.registered_at, after.incarnation, after.status],
    ["uk", uk.url, before.registered_at, 2, "draining"],
  );
  await post(`${second.url}/api/admin/workers/uk/undrain`, "");
  assert.equal((await coordinators(second))[0].status, "reconnecting");
  assert.equal((await post(`${second.url}/api/edge/heartbeat`, { worker_id: "uk", incarnation: 1 })).status, 409);
  assert.equal((await post(`${second.url}/api/edge/heartbeat`, { worker_id: "uk", incarnation: 2 })).status, 200);
  assert.equal((await coordinators(second))[0].status, "online");
  await second.stop();

  /* A process of its own, whose output says what the object does by itself. */
  const serve = fileURLToPath(new URL("../serve.mjs", import.meta.url));
  const settings = Object.entries({ ...open, WORKER_TIMEOUT_SECONDS: "1" }).map(([name, value]) => `${name}=${value}`);
  const child = spawn(process.execPath, [serve, "router", ...settings]);
  cleanup.add(async () => {
    child.kill("SIGTERM");
    await new Promise((resolve) => (child.exitCode === null ? child.once("exit", resolve) : resolve()));
  });
  let output = "";
  child.stdout.on("data", (data) => (output += data));
  child.stderr.on("data", (data) => (output += data));
  assert.ok(await eventually(() => /^ready (\S+)$/m.test(output)), output);
  await register({ url: /^ready (\S+)$/m.exec(output)[1] }, "uk", uk);
  assert.ok(await eventually(() => output.includes("has been silent for too long")), output);
});

test("a request is tried elsewhere where that is safe, and the coordinator is out", async (context) => {
  const cleanup = new Cleanup(context);
  const machine = await worker(cleanup, "m");
  let hits = 0;
  const dying = await lister(cleanup, [listed("w-dying", machine.url)]);
  dying.others["/api/service/files"] = (request, response) => {
    hits++;
    response.destroy();
  };
  const uk = await relaying(cleanup, "uk", machine);
  const router = await script(cleanup, "router", { ...open, REGION_INTERVAL_SECONDS: "1000" });
  await register(router, "dying", dying);
  await register(router, "uk", uk);
  assert.ok((await inPool(router, "dying")) && (await inPool(router, "uk")));
  /* The one that dies is asked first, however their latencies were measured. */
  await post(`${router.url}/api/edge/heartbeat`, { worker_id: "uk", queue_depth: 1000000 });
  for (let i = 0; i < 30; i++) {
    const answer = await get(`${router.url}/api/service/files`);
    assert.match(answer.text, /^uk /);
    assert.equal(answer.headers.get("x-coordinator"), "uk");
    assert.equal(answer.headers.get("x-served-by"), "w-uk");
    assert.match(answer.text, /[0-9a-f]{16}$/, "with where it has been");
  }
  assert.ok(hits >= 1);
  await get(`${router.url}/api/edge/unregister/uk`, { method: "DELETE" });
  hits = 0;
  const lost = await post(`${router.url}/api/service/files`, "body");
  assert.equal(lost.json.error, "coordinator_failed", lost.text);
  assert.equal(lost.status, 502);
  assert.equal(hits, 1, "it may have been begun");
});

test("a coordinator that is too slow for a registration is passed over", async (context) => {
  const cleanup = new Cleanup(context);
  const machine = await worker(cleanup, "m");
  const slow = await lister(cleanup);
  slow.others["/api/worker/register"] = () => {};
  const us = await relaying(cleanup, "us", machine);
  const settings = { REGION_INTERVAL_SECONDS: "1000", FIRST_BYTE_TIMEOUT_SECONDS: "300" };
  const router = await script(cleanup, "router", { ...open, ...settings });
  await register(router, "uk", slow);
  await register(router, "us", us);
  assert.ok((await inPool(router, "uk")) && (await inPool(router, "us")));
  const answer = await get(`${router.url}/api/worker/register`, {
    method: "POST",
    body: JSON.stringify({ worker_id: "new", url: machine.url, location: "uk" }),
    signal: AbortSignal.timeout(120000) /* and not after the five minutes that others have */,
  });
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.headers.get("x-coordinator"), "us");
});

test("lists that were cut, or are lies, leave things as they are and are told of", async (context) => {
  const cleanup = new Cleanup(context);
  const machine = await worker(cleanup, "m");
  const uk = await lister(cleanup, [listed("a", machine.url)]);
  const router = await script(cleanup, "router", { ...open, REGION_TIMEOUT_SECONDS: "1" });
  await register(router, "uk", uk);
  assert.ok(await inPool(router, "uk"));
  const whole = JSON.stringify({ workers: uk.workers });
  const region = async () => (await get(`${router.url}/api/admin/workers`)).json.regions[0];
  for (const wrong of [
    { text: whole.slice(0, -5) },
    { text: "{}" },
    { status: 500 },
    { text: `${whole}${" ".repeat(17 << 20)}` },
  ]) {
    Object.assign(uk, wrong);
    assert.ok(
      await eventually(async () => (await region()).status === "unreachable"),
      JSON.stringify(wrong).slice(0, 50),
    );
    assert.notEqual((await region()).problem, undefined);
    const list = (await get(`${router.url}/api/admin/workers`)).json;
    assert.equal(list.workers[0].worker_id, "a", "what was last known of it stays");
    Object.assign(uk, { text: null, status: 200 });
    await post(`${router.url}/api/edge/heartbeat`, { worker_id: "uk" });
    /* It is put out again and again: each time for longer. */
    assert.ok(await eventually(async () => (await region()).problem === undefined));
    await get(`${router.url}/api/edge/unregister/uk`, { method: "DELETE" });
    await register(router, "uk", uk);
    assert.ok(await inPool(router, "uk"));
  }
  uk.workers = [
    listed("__proto__", machine.url),
    listed("b", "ftp://x"),
    listed("c", machine.url, { services: [7, "files"] }),
    7,
  ];
  assert.ok(await eventually(async () => (await get(`${router.url}/api/admin/workers`)).json.total === 2));
  uk.status = 403;
  assert.ok(await eventually(async () => /FEDERATION_KEY/.test((await region()).problem)));
});

test("an unchanged list is 304", async (context) => {
  const cleanup = new Cleanup(context);
  const machine = await worker(cleanup, "m");
  const uk = await lister(cleanup, [listed("a", machine.url)]);
  const router = await script(cleanup, "router", open);
  await register(router, "uk", uk);
  assert.ok(await inPool(router, "uk"));
  for (const path of [
    "/api/coordinator/workers",
    "/api/admin/workers",
    "/api/topology",
    "/api/admin/gaps",
    "/api/services/list",
  ]) {
    await get(`${router.url}${path}`);
    const { headers } = await get(`${router.url}${path}`);
    await new Promise((resolve) => setTimeout(resolve, 300));
    const again = await get(`${router.url}${path}`, { headers: { "If-None-Match": headers.get("etag") } });
    assert.equal(again.status, 304, path);
    uk.workers = [listed("a", machine.url, { current_load: Math.random() }), listed(`b${path.length}`, machine.url)];
    assert.ok(
      await eventually(
        async () =>
          (await get(`${router.url}${path}`, { headers: { "If-None-Match": headers.get("etag") } })).status === 200,
      ),
      path,
    );
    uk.workers = [listed("a", machine.url)];
    assert.ok(await eventually(async () => (await get(`${router.url}/api/admin/workers`)).json.total === 1));
  }
});

test("the catalog is the coordinators'", async (context) => {
  const cleanup = new Cleanup(context);
  const machine = await worker(cleanup, "m");
  const uk = await lister(cleanup, [listed("a", machine.url, { services: ["documents"] })]);
  uk.catalog = [{ name: "files", aliases: ["documents"], requires: "cpu", priority: 3, port: 99 }];
  const router = await script(cleanup, "router", open);
  await register(router, "uk", uk);
  assert.ok(await inPool(router, "uk"));
  const { gaps } = (await get(`${router.url}/api/admin/gaps`)).json;
  assert.deepEqual(gaps, [
    { service: "files", required_type: "cpu", priority: 3, current_workers: 1, status: "warning", port: 99 },
  ]);
  assert.equal((await get(`${router.url}/api/services/discover/documents`)).json.service, "files");
});

test("a job for all goes to all coordinators", async (context) => {
  const cleanup = new Cleanup(context);
  const router = await script(cleanup, "router", open);
  const bodies = [];
  for (const id of ["uk", "us", "none"]) {
    const coordinator = await lister(cleanup);
    coordinator.others["/api/coordinator/broadcast-job"] = async (request, response) => {
      const chunks = [];
      for await (const chunk of request) {
        chunks.push(chunk);
      }
      bodies.push(JSON.parse(Buffer.concat(chunks)));
      response.writeHead(id === "none" ? 503 : 200);
      response.end(JSON.stringify({ broadcasted_to: 2, successful: 1, failed: 1, workers: [{ worker_id: id }] }));
    };
    await register(router, id, coordinator);
    assert.ok(await inPool(router, id));
  }
  const answer = await post(`${router.url}/api/coordinator/broadcast-job`, { job_type: "x", job_data: { a: 1 } });
  assert.equal(answer.status, 200, answer.text);
  assert.deepEqual([answer.json.broadcasted_to, answer.json.successful, answer.json.failed], [4, 2, 2]);
  assert.deepEqual(answer.json.workers.map((one) => one.worker_id).sort(), ["uk", "us"]);
  assert.deepEqual([...new Set(bodies.map((body) => body.job_id))], [answer.json.job_id], "one job everywhere");
  assert.deepEqual(bodies[0].job_data, { a: 1 });
  const many = Array.from({ length: 9 }, (_, at) => `edge-router-${at}`).join(", ");
  const looped = await post(
    `${router.url}/api/coordinator/broadcast-job`,
    { job_type: "x" },
    { "X-Muster-Hops": many },
  );
  assert.equal(looped.json.error, "loop_detected");
});

test("keys, and the key of the federation", async (context) => {
  const cleanup = new Cleanup(context);
  const uk = await relaying(cleanup, "uk", await worker(cleanup, "m"));
  const keys = {
    keys: [
      { name: "lab", key: "the-key-of-the-lab", rights: ["worker"] },
      { name: "site", key: "the-key-of-the-site", rights: ["client"], services: ["vision-ocr", "fil*"] },
    ],
  };
  const router = await script(cleanup, "router", {
    ...open,
    API_KEY: "the-only-admin-key",
    API_KEYS: JSON.stringify(keys),
    FEDERATION_KEY: "the-federations-key",
  });
  assert.equal((await post(`${router.url}/api/edge/register`, { url: uk.url })).status, 401);
  const lab = { "X-API-Key": "the-key-of-the-lab" };
  assert.equal((await post(`${router.url}/api/edge/register`, { worker_id: "uk", url: uk.url }, lab)).status, 200);
  assert.equal((await get(`${router.url}/api/admin/coordinators`, { headers: lab })).status, 403);
  const admin = { headers: { Authorization: "Bearer the-only-admin-key" } };
  assert.ok(await eventually(async () => (await get(`${router.url}/api/admin/coordinators`, admin)).json[0].in_pool));
  assert.ok(uk.headers.some((headers) => headers["x-api-key"] === "the-federations-key"));
  assert.equal((await get(`${router.url}/api/service/files`)).status, 401);
  assert.equal((await get(`${router.url}/health`)).status, 200);
  const asSite = async (name) =>
    (await get(`${router.url}/api/service/${name}`, { headers: { "X-API-Key": "the-key-of-the-site" } })).status;
  assert.deepEqual([await asSite("files"), await asSite("llm"), await asSite("ocr")], [200, 403, 503], "by any name");
  /* A worker's token is the coordinator's to judge, and says nothing about a coordinator. */
  uk.workers = [listed("a", "http://127.0.0.1:1")];
  uk.others["/api/worker/heartbeat"] = (request, response) => {
    request.resume();
    response.end(JSON.stringify({ status: "ok", token: request.headers["x-api-key"] }));
  };
  const token = { "X-API-Key": "mw1.of-the-worker" };
  const taken = await post(`${router.url}/api/worker/heartbeat`, { worker_id: "a" }, token);
  assert.equal(taken.json.token, "mw1.of-the-worker", taken.text);
  assert.equal((await post(`${router.url}/api/worker/heartbeat`, { worker_id: "uk" }, token)).status, 404);
  assert.equal((await post(`${router.url}/api/worker/heartbeat`, { worker_id: "uk" }, lab)).status, 200);
});

test("a worker that does not say where it is lands where it calls from", async (context) => {
  const cleanup = new Cleanup(context);
  const machine = await worker(cleanup, "m");
  const cf = { country: "GB", continent: "EU", latitude: "51.5", longitude: "-0.1" };
  const router = await script(cleanup, "router", open, { cf });
  const at = (latitude, longitude) => ({ capabilities: { latitude, longitude } });
  for (const [id, more] of [
    ["us", at(40, -74)],
    ["eu", at(48.8, 2.3)],
    ["jp", at(35, 139)],
  ]) {
    await register(router, id, await relaying(cleanup, id, machine), more);
    assert.ok(await inPool(router, id));
  }
  const landsAt = async (location) => {
    const answer = await post(`${router.url}/api/worker/register`, { worker_id: "new", url: machine.url, location });
    assert.equal(answer.status, 200, answer.text);
    return answer.headers.get("x-coordinator");
  };
  assert.equal(await landsAt(""), "eu");
  assert.equal(await landsAt("jp"), "jp", "what it says itself goes first");
  await get(`${router.url}/api/edge/unregister/eu`, { method: "DELETE" });
  assert.equal(await landsAt(""), "us", "the next one by distance");
});

test("a coordinator behind nothing, and proofs that never end", async (context) => {
  const cleanup = new Cleanup(context);
  const router = await script(cleanup, "router", { ...open, COORDINATOR_PROOF: "required" });
  const endless = await httpServer(cleanup, (request, response) => {
    response.writeHead(200);
    const write = (error) => (error || response.destroyed ? undefined : response.write("x".repeat(65536), write));
    write();
  });
  const cut = await tcpServer(cleanup, (socket) => socket.destroy());
  for (const url of [endless.url, cut.url, await nobody(cleanup)]) {
    const answer = await post(`${router.url}/api/edge/register`, { url });
    assert.equal(answer.json.error, "challenge_failed", answer.text);
  }
  const wrong = await script(cleanup, "router", { COORDINATOR_PROOF: "perhaps" });
  assert.match((await get(`${wrong.url}/health`)).json.message, /COORDINATOR_PROOF/, "what is wrong is said");
  const inside = await script(cleanup, "router", {});
  for (const host of ["127.0.0.1", "0x7f.1", "[::ffff:10.0.0.1]", "localhost", "169.254.169.254"]) {
    assert.equal(
      (await post(`${inside.url}/api/edge/register`, { url: `http://${host}:80` })).json.error,
      "forbidden_url",
      host,
    );
  }
});

test("a request that has come through this edge router before is refused, however short its way was", async (context) => {
  const cleanup = new Cleanup(context);
  const uk = await relaying(cleanup, "uk", await worker(cleanup, "m"));
  const router = await script(cleanup, "router", open);
  await register(router, "uk", uk);
  assert.ok(await inPool(router, "uk"));
  const through = (path, hops) => get(`${router.url}${path}`, { headers: hops === "" ? {} : { "X-Muster-Hops": hops } });
  const first = await through("/api/service/files", "");
  const own = first.text.split(" ")[2];
  assert.match(own, /^[0-9a-f]{16}$/, first.text);
  assert.equal((await through("/api/service/files", "another")).text, `uk 0 another, ${own}`);
  for (const hops of [own, `another, ${own}`, `${own}, another`]) {
    const again = await through("/api/service/files", hops);
    assert.deepEqual([again.status, again.json?.error], [508, "loop_detected"], hops);
  }
  /* Lists are answered from what is known, and nobody is asked for them. */
  const asked = uk.asked.length;
  assert.equal((await through("/api/admin/workers", own)).status, 200);
  assert.equal(uk.asked.length, asked);
});
