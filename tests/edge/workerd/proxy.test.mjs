/** The edge proxy of gateway/edge in workerd, beside servers that play coordinators and workers. */

import assert from "node:assert/strict";
import { mkdtempSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { WebSocketServer, WebSocket } from "ws";

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

/** With these headers and no others. */
function rawGet(url, headers) {
  return new Promise((resolve, reject) => {
    const request = httpRequest(url, { headers }, (response) => {
      response.text = "";
      response.on("data", (data) => (response.text += data));
      response.on("end", () => resolve(response));
    });
    request.on("error", reject);
    request.end();
  });
}

const soon = { POLL_SECONDS: "0.2", POLL_RETRY_SECONDS: "0.1", POLL_TIMEOUT_SECONDS: "2" };

test("a list that cannot be read leaves things as they are, and its age is told", async (context) => {
  const cleanup = new Cleanup(context);
  const one = await worker(cleanup, "a");
  const uk = await lister(cleanup, [listed("a", one.url)]);
  const proxy = await script(cleanup, "proxy", { COORDINATOR_URL: `${uk.url}/, ${uk.url}`, ...soon });
  assert.equal((await get(`${proxy.url}/api/service/files/x?y`)).json.url, "/api/files/x?y");
  assert.equal((await get(`${proxy.url}/health`)).json.lists.length, 1, "one that is given twice is one");
  const whole = JSON.stringify({ workers: [listed("a", one.url)] });
  const unreadable = [
    { text: whole.slice(0, -20) },
    { text: "{}" },
    { text: "[]" },
    { text: "" },
    { text: `${whole.slice(0, -1)},"x":"${"x".repeat(17 << 20)}"}` },
    { status: 500 },
    { status: 302 },
    { status: 404 },
  ];
  for (const wrong of unreadable) {
    const name = JSON.stringify(wrong).slice(0, 60);
    Object.assign(uk, { text: null, status: 200 });
    assert.ok(await eventually(async () => (await get(`${proxy.url}/health`)).json.status === "healthy"), name);
    Object.assign(uk, wrong);
    assert.ok(await eventually(async () => (await get(`${proxy.url}/health`)).json.status === "degraded"), name);
    const list = (await get(`${proxy.url}/health`)).json.lists[0];
    assert.equal(list.status, "unreachable");
    assert.notEqual(list.problem, "");
    assert.equal((await get(`${proxy.url}/service/files/x`)).json.url, "/x", name);
  }
  await uk.stop();
  assert.ok(
    await eventually(async () => Number((await get(`${proxy.url}/api/services/list`)).headers.get("age")) >= 1),
  );
  assert.equal((await get(`${proxy.url}/api/service/files`)).headers.get("age"), null, "it is the worker's answer");
});

test("requests that come together before there is a list all wait for it", async (context) => {
  const cleanup = new Cleanup(context);
  const one = await worker(cleanup, "a");
  const uk = await lister(cleanup, [listed("a", one.url)]);
  const proxy = await script(cleanup, "proxy", { COORDINATOR_URL: uk.url });
  const answers = await Promise.all(Array.from({ length: 20 }, () => get(`${proxy.url}/service/files/x`)));
  assert.deepEqual([...new Set(answers.map((answer) => answer.status))], [200]);
});

test("an unchanged list is not sent again, and is asked for in its turn only", async (context) => {
  const cleanup = new Cleanup(context);
  const one = await worker(cleanup, "a");
  const uk = await lister(cleanup, [listed("a", one.url)]);
  uk.etag = '"v1"';
  const rare = await script(cleanup, "proxy", { COORDINATOR_URL: uk.url });
  for (let i = 0; i < 20; i++) {
    assert.equal((await get(`${rare.url}/service/files/x`)).status, 200);
  }
  assert.equal(uk.asked.length, 1, "five minutes have not passed");
  await rare.stop();
  const proxy = await script(cleanup, "proxy", { COORDINATOR_URL: uk.url, ...soon });
  assert.ok(
    await eventually(async () => {
      await get(`${proxy.url}/service/files/x`);
      return uk.headers.filter((headers) => headers["if-none-match"] === '"v1"').length >= 2;
    }),
  );
  assert.equal((await get(`${proxy.url}/health`)).json.status, "healthy");
});

test("the last list outlives the isolate in the Cache API", async (context) => {
  const cleanup = new Cleanup(context);
  const dataDir = mkdtempSync(join(process.env.TEST_TMPDIR ?? tmpdir(), "cache-"));
  const one = await worker(cleanup, "a");
  const uk = await lister(cleanup, [listed("a", one.url)]);
  uk.catalog = [{ name: "files", aliases: ["documents"] }];
  const bindings = { COORDINATOR_URL: uk.url, ...soon };
  const port = Number(new URL(await nobody(cleanup)).port);
  const first = await script(cleanup, "proxy", bindings, { dataDir, port });
  assert.equal((await get(`${first.url}/api/service/documents`)).status, 200);
  await first.stop();
  await uk.stop();
  const second = await script(cleanup, "proxy", bindings, { dataDir, port });
  assert.equal((await get(`${second.url}/api/service/documents`)).json?.id, "a");
  assert.ok(
    await eventually(async () => Number((await get(`${second.url}/api/coordinator/workers`)).headers.get("age")) >= 1),
  );
  assert.equal((await get(`${second.url}/health`)).json.lists[0].status, "unreachable");
  assert.equal((await get(`${second.url}/readyz`)).status, 200);
});

test("without a list nobody is found, and it says why", async (context) => {
  const cleanup = new Cleanup(context);
  const proxy = await script(cleanup, "proxy", { COORDINATOR_URL: await nobody(cleanup), ...soon });
  const answer = await get(`${proxy.url}/api/service/files`);
  assert.equal(answer.status, 503);
  assert.equal(answer.json.error, "no_worker");
  assert.equal(answer.json.detail, answer.json.message);
  assert.notEqual(answer.headers.get("retry-after"), null);
  assert.equal((await get(`${proxy.url}/readyz`)).status, 503);
  assert.equal((await get(`${proxy.url}/health`)).json.age_seconds, null);
  assert.equal((await get(`${proxy.url}/api/services/list`)).headers.get("age"), null);
  assert.equal((await get(`${proxy.url}/api/admin/stats`)).json.error, "no_coordinators");
  const wrong = await script(cleanup, "proxy", { COORDINATOR_URL: "ftp://x" });
  assert.match((await get(`${wrong.url}/health`)).json.message, /COORDINATOR_URL/);
});

test("a slow coordinator does not hold requests up for long", async (context) => {
  const cleanup = new Cleanup(context);
  const slow = await httpServer(cleanup, () => {});
  const one = await worker(cleanup, "a");
  const uk = await lister(cleanup, [listed("a", one.url)]);
  const proxy = await script(cleanup, "proxy", {
    COORDINATOR_URL: `${slow.url},${uk.url}`,
    ...soon,
    POLL_TIMEOUT_SECONDS: "0.5",
  });
  assert.equal((await get(`${proxy.url}/service/files/x`)).status, 200);
  const lists = (await get(`${proxy.url}/health`)).json.lists;
  assert.equal(lists.find((list) => list.coordinator === slow.url).problem, "it does not answer in time");
  assert.equal(lists.find((list) => list.coordinator === uk.url).status, "online");
});

test("workers that are away are replaced inside the request, where that is safe", async (context) => {
  const cleanup = new Cleanup(context);
  const workers = await Promise.all(["a", "b", "c"].map((id) => worker(cleanup, id)));
  const uk = await lister(
    cleanup,
    workers.map((one) => listed(one.id, one.url)),
  );
  const proxy = await script(cleanup, "proxy", { COORDINATOR_URL: uk.url });
  const servedBy = new Set();
  for (let i = 0; i < 60; i++) {
    servedBy.add((await get(`${proxy.url}/service/files/x`)).headers.get("x-served-by"));
  }
  assert.equal(servedBy.size, 3, "all have their share");
  await workers[0].stop();
  for (let i = 0; i < 100; i++) {
    const answer = await get(`${proxy.url}/service/files/x`);
    assert.equal(answer.status, 200, answer.text);
    assert.notEqual(answer.headers.get("x-served-by"), "a");
  }
});

test("a POST that may have been begun is not sent twice", async (context) => {
  const cleanup = new Cleanup(context);
  let hits = 0;
  const broken = await Promise.all(
    [1, 2].map(() =>
      tcpServer(cleanup, (socket) => {
        hits++;
        socket.destroy();
      }),
    ),
  );
  const uk = await lister(
    cleanup,
    broken.map((one, at) => listed(`w${at}`, one.url)),
  );
  const proxy = await script(cleanup, "proxy", { COORDINATOR_URL: uk.url });
  const answer = await post(`${proxy.url}/service/files/x`, "body");
  assert.equal(answer.status, 502, answer.text);
  assert.equal(answer.json.error, "worker_failed");
  assert.match(answer.headers.get("x-served-by"), /^w[01]$/);
  assert.equal(hits, 1);
  uk.catalog = [{ name: "files", repeatable: true }];
  const other = await script(cleanup, "proxy", { COORDINATOR_URL: uk.url });
  assert.equal((await post(`${other.url}/service/files/x`, "body")).json.error, "no_worker");
  assert.equal(hits, 3, "what may be repeated is tried at both");
});

test("what Cloudflare could not connect is tried elsewhere whatever the method", async (context) => {
  const cleanup = new Cleanup(context);
  const gone = await httpServer(cleanup, (request, response) => {
    response.writeHead(530, { Server: "cloudflare" });
    response.end("error code: 1033");
  });
  const one = await worker(cleanup, "a");
  const uk = await lister(cleanup, [listed("gone", gone.url), listed("a", one.url)]);
  const proxy = await script(cleanup, "proxy", { COORDINATOR_URL: uk.url });
  for (let i = 0; i < 20; i++) {
    const answer = await post(`${proxy.url}/service/files/x`, "body");
    assert.equal(answer.headers.get("x-served-by"), "a", answer.text);
    assert.equal(answer.json.bytes, 4, "with its body");
  }
  uk.workers = [listed("gone", gone.url)];
  const alone = await script(cleanup, "proxy", { COORDINATOR_URL: uk.url });
  assert.equal((await post(`${alone.url}/service/files/x`, "body")).json.error, "no_worker");
});

test("a worker that is too slow is 504, its own errors are its own", async (context) => {
  const cleanup = new Cleanup(context);
  const slow = await httpServer(cleanup, (request, response) => {
    if (request.url === "/error") {
      response.writeHead(503, { "X-Own": "1" });
      response.end("mine");
    }
  });
  const uk = await lister(cleanup, [listed("slow", slow.url)]);
  const proxy = await script(cleanup, "proxy", { COORDINATOR_URL: uk.url, FIRST_BYTE_TIMEOUT_SECONDS: "0.5" });
  const answer = await get(`${proxy.url}/service/files/x`);
  assert.equal(answer.status, 504);
  assert.equal(answer.json.error, "worker_timeout");
  assert.equal(answer.headers.get("x-served-by"), "slow");
  const own = await get(`${proxy.url}/service/files/error`);
  assert.equal(own.text, "mine");
  assert.equal(own.status, 503);
  assert.equal(own.headers.get("x-own"), "1");
});

test("a worker that has just come is found", async (context) => {
  const cleanup = new Cleanup(context);
  const one = await worker(cleanup, "a");
  const uk = await lister(cleanup, []);
  const proxy = await script(cleanup, "proxy", { COORDINATOR_URL: uk.url, POLL_RETRY_SECONDS: "0.1" });
  assert.equal((await get(`${proxy.url}/service/files/x`)).status, 503);
  uk.workers = [listed("a", one.url)];
  assert.ok(await eventually(async () => (await get(`${proxy.url}/service/files/x`)).status === 200));
  assert.equal((await get(`${proxy.url}/api/worker/find/files`)).json.worker_id, "a");
});

test("bodies stream both ways, of any length, compressed ones as they are", async (context) => {
  const cleanup = new Cleanup(context);
  const { gzipSync } = await import("node:zlib");
  const packed = gzipSync("text ".repeat(1000));
  let release;
  const machine = await httpServer(cleanup, (request, response) => {
    if (request.url === "/packed") {
      response.writeHead(200, { "Content-Encoding": "gzip", "Content-Type": "text/plain" });
      return response.end(packed);
    }
    if (request.url === "/events") {
      response.writeHead(200, { "Content-Type": "text/event-stream" });
      response.write("data: first\n\n");
      release = () => response.end("data: last\n\n");
      return undefined;
    }
    let bytes = 0;
    response.setHeader("X-Accepts", request.headers["accept-encoding"]);
    request.on("data", (chunk) => (bytes += chunk.length));
    return request.on("end", () => response.end(String(bytes)));
  });
  const uk = await lister(cleanup, [listed("a", machine.url)]);
  const proxy = await script(cleanup, "proxy", { COORDINATOR_URL: uk.url });
  assert.equal((await get(`${proxy.url}/service/files/packed`)).text, "text ".repeat(1000));
  const accepted = async (headers) => (await rawGet(`${proxy.url}/service/files/echo`, headers)).headers["x-accepts"];
  assert.equal(await accepted({}), "identity", "the client's, not the runtime's");
  assert.equal(await accepted({ "Accept-Encoding": "gzip" }), "gzip");
  const events = await fetch(`${proxy.url}/service/files/events`);
  const reader = events.body.getReader();
  assert.equal(new TextDecoder().decode((await reader.read()).value), "data: first\n\n", "before the answer ends");
  release();
  assert.equal(new TextDecoder().decode((await reader.read()).value), "data: last\n\n");
  const total = await new Promise((resolve, reject) => {
    const upload = httpRequest(`${proxy.url}/service/files/upload`, { method: "POST" }, (response) => {
      let text = "";
      response.on("data", (chunk) => (text += chunk));
      response.on("end", () => resolve(Number(text)));
    });
    upload.on("error", reject);
    const chunk = Buffer.alloc(1 << 20);
    let left = 64;
    const send = () => {
      while (left > 0) {
        left--;
        if (!upload.write(chunk)) {
          upload.once("drain", send);
          return;
        }
      }
      upload.end();
    };
    send();
  });
  assert.equal(total, 64 << 20);
});

test("WebSockets pass through", async (context) => {
  const cleanup = new Cleanup(context);
  const machine = await httpServer(cleanup, (request, response) => response.end());
  const sockets = new WebSocketServer({ server: machine.server, path: "/socket" });
  sockets.on("connection", (socket) => socket.on("message", (data) => socket.send(`back: ${data}`)));
  const uk = await lister(cleanup, [listed("a", machine.url)]);
  const proxy = await script(cleanup, "proxy", { COORDINATOR_URL: uk.url });
  const client = new WebSocket(`${proxy.url.replace("http", "ws")}/service/files/socket`);
  const answer = await new Promise((resolve, reject) => {
    client.on("open", () => client.send("there"));
    client.on("message", (data) => resolve(String(data)));
    client.on("error", reject);
  });
  assert.equal(answer, "back: there");
  client.terminate();
});

test("keys and cross-origin requests", async (context) => {
  const cleanup = new Cleanup(context);
  const one = await worker(cleanup, "a");
  const uk = await lister(cleanup, [listed("a", one.url)]);
  const proxy = await script(cleanup, "proxy", {
    COORDINATOR_URL: uk.url,
    API_KEY: "the-proxys-own-key",
    FEDERATION_KEY: "the-coordinators-key",
    ALLOWED_ORIGINS: "https://page.example.org",
  });
  const refused = await get(`${proxy.url}/service/files/x`, { headers: { Origin: "https://page.example.org" } });
  assert.equal(refused.status, 401);
  assert.match(refused.headers.get("www-authenticate"), /Bearer/);
  assert.equal(refused.headers.get("access-control-allow-origin"), "https://page.example.org");
  assert.equal((await get(`${proxy.url}/health`)).status, 200, "for everybody");
  const served = await get(`${proxy.url}/service/files/x`, {
    headers: { "X-API-Key": "the-proxys-own-key", Authorization: "Bearer of-the-service", "X-Request-Id": "mine" },
  });
  assert.equal(served.status, 200);
  assert.equal(served.headers.get("x-request-id"), "mine");
  assert.equal(served.json.headers["x-api-key"], undefined, "it is nobody's business there");
  assert.equal(served.json.headers.authorization, "Bearer of-the-service");
  const bearer = await get(`${proxy.url}/service/files/x`, { headers: { Authorization: "Bearer the-proxys-own-key" } });
  assert.equal(bearer.json.headers.authorization, undefined);
  assert.equal(uk.headers[0]["x-api-key"], "the-coordinators-key");
  const asked = await fetch(`${proxy.url}/service/files/x`, {
    method: "OPTIONS",
    headers: { Origin: "https://page.example.org", "Access-Control-Request-Method": "POST" },
  });
  assert.equal(asked.status, 204);
  assert.match(asked.headers.get("access-control-allow-headers"), /X-API-Key/);
  assert.equal(asked.headers.get("access-control-max-age"), "86400");
});

test("a loop of edge proxies is noticed, by one's own name and by how many it has come through", async (context) => {
  const cleanup = new Cleanup(context);
  const seen = [];
  const uk = await lister(cleanup);
  uk.others["/api/worker/register"] = (request, response) => {
    request.resume();
    seen.push(request.headers["x-muster-hops"]);
    response.end("{}");
  };
  const proxy = await script(cleanup, "proxy", { COORDINATOR_URL: uk.url, ...soon });
  const through = (hops) => post(`${proxy.url}/api/worker/register`, {}, hops === "" ? {} : { "X-Muster-Hops": hops });
  assert.equal((await through("")).status, 200);
  assert.match(seen[0], /^[0-9a-f]{16}$/);
  const again = await through(`other, ${seen[0]}`);
  assert.deepEqual([again.status, again.json.error], [508, "loop_detected"]);
  assert.equal(seen.length, 1, "nobody was asked");
  const names = Array.from({ length: 9 }, (_, at) => `proxy-${at}`);
  assert.equal((await through(names.slice(0, 8).join(", "))).status, 200);
  assert.equal(seen[1], [...names.slice(0, 8), seen[0]].join(", "));
  assert.equal((await through(names.join(", "))).status, 508);

  /* And one that is its own coordinator. */
  const port = Number(new URL(await nobody(cleanup)).port);
  const own = await script(cleanup, "proxy", { COORDINATOR_URL: `http://127.0.0.1:${port}`, ...soon }, { port });
  const looped = await post(`${own.url}/api/worker/register`, {});
  assert.deepEqual([looped.status, looped.json.error], [508, "loop_detected"]);
});

test("pages of any origin may call, unless ALLOWED_ORIGINS says which; a worker's token is no client's key", async (context) => {
  const cleanup = new Cleanup(context);
  const uk = await lister(cleanup);
  const page = { headers: { Origin: "https://page.example.org" } };
  const allowed = async (bindings) => {
    const proxy = await script(cleanup, "proxy", { COORDINATOR_URL: uk.url, ...bindings });
    return (await get(`${proxy.url}/health`, page)).headers.get("access-control-allow-origin");
  };
  assert.equal(await allowed({}), "*", "as the program does it");
  assert.equal(await allowed({ ALLOWED_ORIGINS: "" }), null);
  assert.equal(await allowed({ ALLOWED_ORIGINS: "https://other.example.org" }), null);
  const closed = await script(cleanup, "proxy", { COORDINATOR_URL: uk.url, API_KEY: "a-key-of-16-bytes" });
  const refused = await get(`${closed.url}/api/services/list`, {
    headers: { Authorization: "Bearer mw1.bGFiLTE.1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" },
  });
  assert.deepEqual([refused.status, refused.json.error], [403, "forbidden"]);
  assert.match(refused.json.message, /a worker's token does not do here/);
});

test("without a key nobody but this machine is served, unless INSECURE says so", async (context) => {
  const cleanup = new Cleanup(context);
  const uk = await lister(cleanup);
  const asked = async (bindings, headers) => {
    const proxy = await script(cleanup, "proxy", { COORDINATOR_URL: uk.url, ...bindings });
    return rawGet(`${proxy.url}/api/services/list`, headers);
  };
  const outside = { Host: "proxy.example.workers.dev" };
  const refused = await asked({}, outside);
  assert.equal(refused.statusCode, 503);
  assert.match(JSON.parse(refused.text).message, /API_KEY.*INSECURE/);
  assert.equal((await asked({}, { Host: "127.0.0.1" })).statusCode, 200);
  assert.equal((await asked({ INSECURE: "true" }, outside)).statusCode, 200);
  const key = "a-key-of-16-bytes";
  assert.equal((await asked({ API_KEY: key }, outside)).statusCode, 401);
  assert.equal((await asked({ API_KEY: key }, { ...outside, "X-API-Key": key })).statusCode, 200);
});

test("what a client expects is between it and the script: a worker's 100 is no answer", async (context) => {
  const cleanup = new Cleanup(context);
  const uk = await lister(cleanup, [listed("a", (await worker(cleanup, "a")).url)]);
  const proxy = await script(cleanup, "proxy", { COORDINATOR_URL: uk.url });
  const answer = await rawGet(`${proxy.url}/service/files/x`, { Expect: "100-continue" });
  assert.equal(answer.statusCode, 200, answer.text);
  assert.equal(JSON.parse(answer.text).headers.expect, undefined);
});
