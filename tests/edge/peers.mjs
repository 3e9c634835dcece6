/** What the scripts are tested with: servers on loopback that play coordinators and workers. */

import { createServer } from "node:http";
import { createServer as createTcpServer } from "node:net";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { start } from "./serve.mjs";

/** Ends all that a test has started, the last first. */
export class Cleanup {
  constructor(context) {
    this.steps = [];
    context.after(async () => {
      for (const step of this.steps.reverse()) {
        await step();
      }
    });
  }

  add(step) {
    this.steps.push(step);
  }
}

async function listen(server, cleanup) {
  const sockets = new Set();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${server.address().port}`;
  const stop = () =>
    new Promise((resolve) => {
      server.close(resolve);
      sockets.forEach((socket) => socket.destroy());
    });
  cleanup.add(() => (server.listening ? stop() : undefined));
  return { url, stop, server };
}

/** @param {(request: object, response: object) => void} handler */
export function httpServer(cleanup, handler) {
  return listen(createServer(handler), cleanup);
}

/** @param {(socket: object) => void} handler of each connection, once it has sent something */
export function tcpServer(cleanup, handler) {
  return listen(
    createTcpServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", () => handler(socket));
    }),
    cleanup,
  );
}

/** An address at which nobody listens. */
export async function nobody(cleanup) {
  const { url, stop } = await tcpServer(cleanup, () => {});
  await stop();
  return url;
}

/** A coordinator that is nothing but its answers by path; `state` may be changed. */
export async function lister(cleanup, workers = []) {
  const state = { workers, status: 200, text: null, etag: "", asked: [], headers: [], catalog: undefined, others: {} };
  const { url, stop } = await httpServer(cleanup, (request, response) => {
    const path = request.url.split("?")[0];
    state.asked.push(`${request.method} ${request.url}`);
    state.headers.push(request.headers);
    if (Object.hasOwn(state.others, path)) {
      return state.others[path](request, response);
    }
    if (path !== "/api/coordinator/workers" && path !== "/api/admin/workers") {
      response.writeHead(503);
      return response.end("{}");
    }
    if (state.etag !== "" && request.headers["if-none-match"] === state.etag) {
      response.writeHead(304);
      return response.end();
    }
    const body = state.text ?? JSON.stringify({ workers: state.workers, catalog: state.catalog });
    response.writeHead(state.status, state.etag === "" ? {} : { ETag: state.etag });
    return response.end(body);
  });
  return Object.assign(state, { url, stop, count: (line) => state.asked.filter((one) => one.startsWith(line)).length });
}

export function listed(id, url, more = {}) {
  return {
    worker_id: id,
    tunnel_url: url,
    services: ["files"],
    status: "online",
    registered_at: "2026-01-05T10:00:00.000Z",
    last_heartbeat: "2026-01-05T10:00:00.000Z",
    ...more,
  };
}

/** A worker that answers with its id and what it was asked. */
export async function worker(cleanup, id) {
  const state = { hits: 0 };
  const { url, stop } = await httpServer(cleanup, (request, response) => {
    state.hits++;
    let bytes = 0;
    request.on("data", (chunk) => (bytes += chunk.length));
    request.on("end", () =>
      response.end(JSON.stringify({ id, method: request.method, url: request.url, headers: request.headers, bytes })),
    );
  });
  return Object.assign(state, { id, url, stop });
}

/** @returns {Promise<{url: string, stop: () => Promise<void>}>} a script in workerd */
export async function script(cleanup, name, bindings, more = {}) {
  const scratch = mkdtempSync(join(process.env.TEST_TMPDIR ?? tmpdir(), "edge-"));
  const miniflare = await start({ script: name, bindings, scratch, ...more });
  const url = (await miniflare.ready).origin;
  let isRunning = true;
  const stop = async () => {
    if (isRunning) {
      isRunning = false;
      await miniflare.dispose();
    }
  };
  cleanup.add(async () => {
    await stop();
    rmSync(scratch, { recursive: true, force: true });
  });
  return { url, stop, miniflare };
}

/** Waits until the answer is yes. */
export async function eventually(yes, timeoutMs = 60000) {
  const end = Date.now() + timeoutMs;
  while (Date.now() < end) {
    if (await yes()) {
      return true;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return false;
}

/** GET, as JSON. */
export async function get(url, init) {
  const response = await fetch(url, init);
  const text = await response.text();
  let json;
  try {
    json = JSON.parse(text);
  } catch {
    json = undefined;
  }
  return { status: response.status, headers: response.headers, text, json };
}

/** @param {unknown} body to be written as JSON, if it is no text */
export function post(url, body, headers = {}) {
  return get(url, { method: "POST", headers, body: typeof body === "string" ? body : JSON.stringify(body) });
}
