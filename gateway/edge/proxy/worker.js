/**
 * The edge proxy on Cloudflare: what `muster-gateway --role edge-proxy` is elsewhere. It keeps no state but caches of
 * the coordinators' lists (list_cache.js), picks workers by them (shared/policy.js), and goes on with the last ones
 * for as long as no coordinator answers. What is a coordinator's to say is passed on to one.
 *
 * Variables (wrangler.toml): COORDINATOR_URL, one or several; POLL_SECONDS, POLL_RETRY_SECONDS,
 * POLL_TIMEOUT_SECONDS, FIRST_BYTE_TIMEOUT_SECONDS, ALLOWED_ORIGINS. Secrets: API_KEY, API_KEYS (shared/keys.js),
 * FEDERATION_KEY, which coordinators are asked with.
 */

import { defaultCatalog } from "../shared/catalog.js";
import { entry } from "../shared/entry.js";
import { ApiError } from "../shared/errors.js";
import { HOPS_HEADER, addHop, newInstance } from "../shared/hops.js";
import { asksEverywhere, headerText, jsonResponse, readStream, splitList } from "../shared/http.js";
import { parseOrigin, withoutSlashes } from "../shared/origin.js";
import { Picker } from "../shared/policy.js";
import { bodyToRelay, isRepeatable, relay, relayError } from "../shared/relay.js";
import { secondsOf, textOf } from "../shared/settings.js";
import { discoveryView, healthCounts, servicesView, workersView } from "../shared/views.js";
import { ListCache } from "./list_cache.js";

const LIST_PATH = "/api/coordinator/workers";
const LIST_BYTES_MAX = 16 << 20;
const ATTEMPTS_MAX = 4;
/** How long the data centre keeps a list for the time when no coordinator answers. */
const KEPT_SECONDS = 30 * 24 * 3600;

/** What one isolate has. */
class Proxy {
  constructor(env, origin) {
    const urls = splitList(textOf(env, "COORDINATOR_URL")).map(withoutSlashes);
    const wrong = urls.find((url) => parseOrigin(url) === null);
    if (urls.length === 0 || wrong !== undefined) {
      throw new Error("the variable COORDINATOR_URL must be http or https URLs, separated by commas");
    }
    this.federationKey = textOf(env, "FEDERATION_KEY");
    this.timeoutMs = secondsOf(env, "FIRST_BYTE_TIMEOUT_SECONDS", 60);
    this.pollTimeoutMs = secondsOf(env, "POLL_TIMEOUT_SECONDS", 5);
    this.instance = newInstance();
    this.picker = new Picker();
    this.lists = new ListCache({
      urls,
      intervalMs: secondsOf(env, "POLL_SECONDS", 300),
      retryMs: secondsOf(env, "POLL_RETRY_SECONDS", 5),
      ask: (url, etag) => this.ask(url, etag),
      store: dataCentre(origin),
    });
  }

  get federation() {
    return this.lists.federation;
  }

  async ask(url, etag) {
    const headers = { Accept: "application/json" };
    if (this.federationKey !== "") {
      headers["X-API-Key"] = this.federationKey;
    }
    if (etag !== "") {
      headers["If-None-Match"] = etag;
    }
    let response;
    try {
      const signal = AbortSignal.timeout(this.pollTimeoutMs);
      response = await fetch(url + LIST_PATH, { headers, redirect: "manual", signal });
      const body = await readStream(response.body, LIST_BYTES_MAX);
      if (body === null) {
        throw new Error(`its list is longer than ${LIST_BYTES_MAX} bytes`);
      }
      const text = new TextDecoder().decode(body);
      return { status: response.status, text, etag: response.headers.get("ETag") ?? "" };
    } catch (error) {
      throw new Error(
        error.name === "TimeoutError" ? "it does not answer in time" : `it does not answer: ${error.message}`,
      );
    }
  }
}

/** The Cache API as a store of lists. Without it (workers.dev has none) every isolate asks for itself. */
function dataCentre(origin) {
  const keyOf = (url) => `${origin}/.muster/list?of=${encodeURIComponent(url)}`;
  return {
    async get(url) {
      const found = await caches.default.match(keyOf(url));
      const askedMs = Number(found?.headers.get("X-Asked-At"));
      if (found === undefined || !Number.isFinite(askedMs)) {
        return null;
      }
      return { text: await found.text(), etag: found.headers.get("X-List-Tag") ?? "", askedMs };
    },
    async put(url, { text, etag, askedMs }) {
      const headers = {
        "Content-Type": "application/json",
        "Cache-Control": `max-age=${KEPT_SECONDS}`,
        "X-Asked-At": String(askedMs),
        "X-List-Tag": etag,
      };
      await caches.default.put(keyOf(url), new Response(text, { headers })).catch((error) => {
        console.warn(`the list could not be put into the cache: ${error.message}`);
      });
    },
  };
}

/** @type {Proxy | null} */
let proxy = null;

function noWorker(type) {
  return new ApiError("no_worker", `no healthy worker offers ${type.slice(0, 100)}; try again in a moment`);
}

/** Answers from the lists say how old these are. */
function aged(response) {
  const ageMs = proxy.lists.oldestMs();
  if (ageMs !== null) {
    response.headers.set("Age", String(Math.floor(ageMs / 1000)));
  }
  return response;
}

/* --- Calls of services --- */

async function callService(call) {
  const { request, route, url, caller } = call;
  const service = proxy.federation.catalog.nameOf(route.name);
  if (!proxy.federation.offering(service).length) {
    await proxy.lists.renew();
  }
  const withheld = { key: ["X-API-Key"], bearer: ["X-API-Key", "Authorization"], none: [] }[caller.source];
  const repeatable = proxy.federation.catalog.isRepeatable(service);
  const path = route.operation === "relay_raw" ? route.rest : proxy.federation.catalog.pathOf(route.type, route.rest);
  const tried = new Set();
  let isOutdated = false;
  const { response, outcome, target } = await relay(request, await bodyToRelay(request), {
    attemptsMax: ATTEMPTS_MAX,
    timeoutMs: proxy.timeoutMs,
    repeatable,
    next: () => {
      const offering = proxy.federation.offering(service).map(({ worker }) => worker);
      const worker = proxy.picker.choose(offering, service, tried, Date.now());
      if (worker === null) {
        return null;
      }
      tried.add(worker.worker_id);
      proxy.picker.begin(worker.worker_id);
      const base = proxy.federation.serviceUrl(worker, service);
      return { url: base + path + url.search, withheld, id: worker.worker_id, headers: { "X-Request-Id": call.id } };
    },
    attempted: (attempt, result) => {
      const isReached = result === "answered";
      const isLost = result === "failed" || result === "unreachable";
      proxy.picker.end(attempt.id, isReached ? "reached" : isLost ? "unreachable" : "unknown", Date.now());
      isOutdated ||= isLost;
    },
  });
  if (isOutdated) {
    call.context.waitUntil(proxy.lists.renew());
  }
  if (target === null) {
    throw noWorker(route.type);
  }
  call.extra.push(["X-Served-By", headerText(target.id)]);
  if (response === null) {
    const codes = { none: "no_worker", failed: "worker_failed", timeout: "worker_timeout" };
    throw relayError(outcome, codes, `worker ${target.id}`, isRepeatable(request, repeatable));
  }
  return response;
}

/* --- What a coordinator is asked --- */

async function forward(call) {
  const { request, url } = call;
  const hops = addHop(
    request.headers.get(HOPS_HEADER) ?? "",
    proxy.instance,
    "COORDINATOR_URL leads back to this edge proxy; correct it",
  );
  const known = proxy.lists.lists;
  const choices = [...known.filter((list) => list.problem === ""), ...known.filter((list) => list.problem !== "")];
  const repeatable = ["register", "heartbeat", "drain", "undrain"].includes(call.route.operation);
  const { response, outcome, target } = await relay(request, await bodyToRelay(request), {
    attemptsMax: ATTEMPTS_MAX,
    timeoutMs: proxy.timeoutMs,
    repeatable,
    next: () => {
      const list = choices.shift();
      return list === undefined
        ? null
        : { url: list.url + url.pathname + url.search, headers: { "X-Request-Id": call.id, [HOPS_HEADER]: hops } };
    },
    declines: (answer) =>
      choices.length > 0 && answer.status === 404 && ["heartbeat", "unregister"].includes(call.route.operation),
  });
  if (response === null) {
    const codes = { none: "no_coordinators", failed: "coordinator_failed", timeout: "coordinator_timeout" };
    throw relayError(outcome, codes, target === null ? "" : "the coordinator", isRepeatable(request, repeatable));
  }
  const changes = ["register", "unregister", "drain", "undrain", "import"];
  if (response.ok && changes.includes(call.route.operation)) {
    /* A client reads its own writes, as far as its next request comes to this isolate. */
    await Promise.all(known.map((list) => proxy.lists.refresh(list)));
  }
  return response;
}

/* --- What the lists say --- */

function health() {
  const lists = proxy.lists.lists.map((list) => ({
    coordinator: list.url,
    status: list.problem !== "" ? "unreachable" : list.bornMs === null ? "unknown" : "online",
    age_seconds: list.bornMs === null ? null : proxy.lists.ageMs(list) / 1000,
    ...(list.problem === "" ? {} : { problem: list.problem }),
  }));
  const ageMs = proxy.lists.oldestMs();
  const isWell = lists.every((list) => list.status === "online");
  return jsonResponse({
    status: isWell ? "healthy" : "degraded",
    coordinator: "edge-proxy",
    timestamp: new Date().toISOString(),
    workers: healthCounts(proxy.federation),
    age_seconds: ageMs === null ? null : ageMs / 1000,
    lists,
  });
}

async function findWorker(name, answer) {
  let found = answer();
  if (found === null && (await proxy.lists.renew())) {
    found = answer();
  }
  if (found === null) {
    throw noWorker(name);
  }
  return aged(jsonResponse(found));
}

function foundWorker(name) {
  const service = proxy.federation.catalog.nameOf(name);
  const offering = proxy.federation.offering(service).map(({ worker }) => worker);
  const worker = proxy.picker.choose(offering, service, new Set(), Date.now());
  return worker === null
    ? null
    : { worker_id: worker.worker_id, worker_url: proxy.federation.serviceUrl(worker, service), service };
}

async function run(call) {
  const { request, route, url, env, context } = call;
  proxy ??= new Proxy(env, url.origin);
  if (route.operation === "healthz") {
    return jsonResponse({ status: "ok" });
  }
  await proxy.lists.prepare((promise) => context.waitUntil(promise));
  switch (route.operation) {
    case "relay_service":
    case "relay_raw":
      return callService(call);
    case "health":
      return health();
    case "readyz":
      if (proxy.lists.oldestMs() === null) {
        throw new ApiError("not_ready", "no coordinator has given a list of its workers yet; see /health");
      }
      return jsonResponse({ status: "ok" });
    case "workers":
      return aged(jsonResponse(workersView(proxy.federation, Date.now())));
    case "services":
      return aged(jsonResponse(servicesView(proxy.federation, Date.now())));
    case "discover":
      if (asksEverywhere(url)) {
        return forward(call);
      }
      return findWorker(route.name, () => discoveryView(proxy.federation, route.name));
    case "find":
      return findWorker(route.name, () => foundWorker(route.name));
    case "coordinators":
    case "edge_register":
    case "edge_heartbeat":
    case "edge_unregister":
    case "edge_peers":
      throw new ApiError("not_found", "this is an edge proxy; coordinators register at an edge router");
    default:
      return forward(call);
  }
}

const catalog = defaultCatalog(); /* until there is a list */

export default entry(run, (name) => (proxy?.federation.catalog ?? catalog).nameOf(name));
