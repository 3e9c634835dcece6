/**
 * The edge router on Cloudflare: what `muster-gateway --role edge-router` is elsewhere, and either can stand in for the
 * other. This part has no state: it reads requests, asks the registry (registry.js, a Durable Object) whom they go to,
 * and relays. The first coordinator that cannot be reached is replaced by the next inside the same request, as far as
 * that is safe (shared/relay.js).
 *
 * Variables and secrets: settings.js, ALLOWED_ORIGINS, and shared/keys.js.
 */

import { defaultCatalog } from "../shared/catalog.js";
import { entry } from "../shared/entry.js";
import { ApiError } from "../shared/errors.js";
import { checkBody, line as lineRule, name as nameRule } from "../shared/fields.js";
import { asksEverywhere, headerText, jsonResponse, parseJson, queryParameter, readBody } from "../shared/http.js";
import { bodyToRelay, isRepeatable, relay, relayError } from "../shared/relay.js";
import { HEARTBEAT, NEWS, REGISTRATION, WORKER, WORKER_HEARTBEAT } from "./bodies.js";
import { readSettings } from "./settings.js";

export { Registry } from "./registry.js";

const ATTEMPTS_MAX = 4;
/** A coordinator that has not answered a registration by then is passed over: the worker waits. */
const REGISTER_TIMEOUT_MS = 4000;
const BODY_BYTES_MAX = 4 << 20;
const HEARTBEAT_BYTES_MAX = 60 * 1024;
const VIEWS = [
  "workers",
  "services",
  "discover",
  "admin_workers",
  "admin_services",
  "admin_gaps",
  "admin_stats",
  "topology",
];
/** Registering and being heard twice is as good as once. */
const REPEATABLE = ["register", "heartbeat", "drain", "undrain"];
const CHANGES_ROLL = ["register", "unregister", "drain", "undrain", "import"];
/** A coordinator that has nobody for it may not be the only one. */
const DECLINED = ["relay_service", "relay_raw", "find", "register"];

function registryOf(env) {
  if (env.REGISTRY === undefined) {
    throw new Error("the binding REGISTRY is missing; deploy with this folder's wrangler.toml");
  }
  return env.REGISTRY.get(env.REGISTRY.idFromName("registry"));
}

/** Calls the registry. @throws {ApiError} */
async function ask(call, method, ...values) {
  let answer;
  try {
    answer = await registryOf(call.env)[method](...values);
  } catch (error) {
    console.error(`the registry failed: ${error.message}`);
    readSettings(call.env); /* says what is wrong, if that is why */
    throw new ApiError("unavailable", "the registry cannot be asked; try again in a moment");
  }
  if (answer?.refused !== undefined) {
    throw new ApiError(answer.refused.code, answer.refused.message);
  }
  return answer?.value ?? answer;
}

/** Where the request comes from, as Cloudflare says; only texts and numbers pass to the registry. */
function cfOf(request) {
  const { country = "", continent = "", latitude = "", longitude = "" } = request.cf ?? {};
  return { country, continent, latitude, longitude };
}

const hopsOf = (request) => request.headers.get("X-Muster-Hops") ?? "";

async function readChecked(request, limitBytes, schema) {
  const bytes = await readBody(request, limitBytes);
  return { bytes, body: checkBody(parseJson(bytes), schema) };
}

/* --- Forwarding --- */

/**
 * @param {object} call
 * @param {object} about
 * @param {string | null} [about.name] of the worker or service
 * @param {string} [about.location]
 * @param {object} [about.said]
 * @param {Uint8Array} [about.bytes] the body, if it has been read
 */
async function forward(call, { name = call.route.name ?? null, location, said, bytes } = {}) {
  const { request, route, url, env } = call;
  const { operation } = route;
  const chosen = await ask(call, "choose", {
    ...{ operation, name, location, said, hops: hopsOf(request), cf: cfOf(request), maySpeak: call.caller.isKey },
  });
  if (chosen.own !== undefined) {
    return jsonResponse(chosen.own);
  }
  const repeatable = REPEATABLE.includes(operation) || chosen.repeatable === true;
  const choices = chosen.choices;
  const body = bytes === undefined ? await bodyToRelay(request) : { data: bytes, isKept: true };
  const { response, outcome, target } = await relay(request, body, {
    attemptsMax: ATTEMPTS_MAX,
    timeoutMs: operation === "register" ? REGISTER_TIMEOUT_MS : readSettings(env).firstByteMs,
    repeatable,
    next: () => {
      const choice = choices.shift();
      const headers = { "X-Muster-Hops": chosen.hops, "X-Request-Id": call.id };
      return choice === undefined ? null : { ...choice, url: choice.url + url.pathname + url.search, headers };
    },
    declines: (answer) => {
      const hasNobody = answer.status === 503 && DECLINED.includes(operation);
      const isLoop = answer.status === 508; /* it is an edge router, and leads back to us */
      return choices.length > 0 && (hasNobody || isLoop) && !answer.headers.has("X-Served-By");
    },
    attempted: (attempt, result) => {
      /* That it was too slow may be the worker's fault behind it; but a registration is its own business. */
      if (["failed", "unreachable"].includes(result) || (result === "timeout" && operation === "register")) {
        call.context.waitUntil(ask(call, "report", { id: attempt.id, failed: true }).catch(() => {})); /* said there */
      }
    },
  });
  if (target !== null) {
    call.extra.push(["X-Coordinator", headerText(target.id)]);
  }
  if (response === null) {
    throw failure(operation, { outcome, target, name, repeatable: isRepeatable(request, repeatable) });
  }
  if (response.status < 300 && CHANGES_ROLL.includes(operation)) {
    /* A client reads its own writes: so it is told of before the answer. */
    await ask(call, "report", { id: target.id, operation, name });
  }
  return response;
}

function failure(operation, { outcome, target, name, repeatable }) {
  if (operation === "heartbeat" && outcome !== "timeout") {
    /* Whoever holds a worker and is away has lost it: it finds its place anew. */
    const message = `coordinator ${target?.id}, which holds ${name}, cannot be reached; register again`;
    return new ApiError("unknown_worker", message);
  }
  const codes = { none: "no_coordinators", failed: "coordinator_failed", timeout: "coordinator_timeout" };
  return relayError(outcome, codes, `coordinator ${target?.id}`, repeatable);
}

/* --- Operations that are not only forwarded --- */

async function register(call) {
  const { bytes, body } = await readChecked(call.request, BODY_BYTES_MAX, WORKER);
  if (body.worker_type === "edge" && body.role !== "worker") {
    const url = body.tunnel_url ?? body.service_url ?? body.url;
    const { worker_id, location, capabilities } = body;
    const coordinator = checkBody({ worker_id, location, capabilities, url }, REGISTRATION);
    return jsonResponse(await ask(call, "register", coordinator, cfOf(call.request)));
  }
  return forward(call, { name: body.worker_id ?? null, location: body.location ?? "", bytes });
}

/** Whom a registration from there would go to. */
async function nearest(call) {
  const location = queryParameter(call.url, "location") ?? "";
  const fault = lineRule(256)(location);
  if (fault !== "") {
    throw new ApiError("invalid_field", `field location ${fault}, in the query`);
  }
  return jsonResponse(await ask(call, "nearest", location, cfOf(call.request)));
}

async function heartbeat(call) {
  const { bytes, body } = await readChecked(call.request, HEARTBEAT_BYTES_MAX, WORKER_HEARTBEAT);
  const { incarnation, status, current_load, queue_depth } = body;
  return forward(call, { name: body.worker_id, said: { incarnation, status, current_load, queue_depth }, bytes });
}

function history(call) {
  const worker = queryParameter(call.url, "worker");
  const fault = worker === null ? "is required" : nameRule(256)(worker);
  if (fault !== "") {
    throw new ApiError("invalid_field", `field worker ${fault}, in the query`);
  }
  return forward(call, { name: worker });
}

async function view(call) {
  const { request, route } = call;
  const asked = { service: route.name, hops: hopsOf(request) };
  const list = await ask(call, "view", route.operation, asked);
  if (list === null || list === undefined) {
    throw new ApiError("no_worker", `no healthy worker offers ${route.name.slice(0, 100)}; try again in a moment`);
  }
  const headers = { "Content-Type": "application/json", ETag: list.tag };
  const known = (request.headers.get("If-None-Match") ?? "").split(",").map((tag) => tag.trim());
  const isKnown = known.includes(list.tag) || known.includes("*");
  return isKnown ? new Response(null, { status: 304, headers }) : new Response(list.text, { headers });
}

/** A job for all workers goes to all coordinators, each of which sends it to its own. */
async function broadcast(call) {
  const { bytes, body } = await readChecked(call.request, BODY_BYTES_MAX, {
    rules: { job_type: nameRule(256), job_id: nameRule(256) },
    required: ["job_type"],
  });
  const jobId = body.job_id ?? crypto.randomUUID();
  const { coordinators, hops } = await ask(call, "pool", hopsOf(call.request));
  if (coordinators.length === 0) {
    throw new ApiError("no_coordinators", "no coordinator is alive; start one with musterctl up --join, or try again");
  }
  const data = body.job_id === undefined ? new TextEncoder().encode(JSON.stringify({ ...body, job_id: jobId })) : bytes;
  const answers = await Promise.all(coordinators.map((one) => broadcastAt(call, one, { data, hops })));
  const taken = answers.filter((answer) => answer.status === 200).map((answer) => answer.body);
  const refused = answers.find((answer) => answer.status >= 400 && answer.status < 500);
  if (taken.length === 0 && refused !== undefined) {
    return jsonResponse(refused.body, refused.status);
  }
  if (taken.length === 0) {
    throw new ApiError("no_worker", "no healthy worker is capable of this; try again in a moment");
  }
  const sum = (member) => taken.reduce((total, answer) => total + (Number(answer[member]) || 0), 0);
  return jsonResponse({
    job_id: jobId,
    job_type: body.job_type,
    broadcasted_to: sum("broadcasted_to"),
    successful: sum("successful"),
    failed: sum("failed"),
    workers: taken.flatMap((answer) => (Array.isArray(answer.workers) ? answer.workers : [])),
  });
}

async function broadcastAt(call, coordinator, { data, hops }) {
  let isAsked = false;
  const { response } = await relay(
    call.request,
    { data, isKept: true },
    {
      attemptsMax: 1,
      timeoutMs: readSettings(call.env).firstByteMs,
      next: () => {
        const headers = { "X-Muster-Hops": hops, "X-Request-Id": call.id };
        const target = isAsked ? null : { ...coordinator, url: coordinator.url + call.url.pathname, headers };
        isAsked = true;
        return target;
      },
    },
  );
  try {
    return { status: response.status, body: Object(await response.json()) };
  } catch {
    return { status: 0, body: {} }; /* it did not answer, or not with JSON */
  }
}

async function run(call) {
  const { request, route, url } = call;
  switch (route.operation) {
    case "register":
      return register(call);
    case "heartbeat":
      return heartbeat(call);
    case "history":
      return history(call);
    case "broadcast":
      return broadcast(call);
    case "edge_register": {
      const { body } = await readChecked(request, BODY_BYTES_MAX, REGISTRATION);
      return jsonResponse(await ask(call, "register", body, cfOf(request)));
    }
    case "edge_heartbeat": {
      const { body } = await readChecked(request, BODY_BYTES_MAX, HEARTBEAT);
      return jsonResponse(await ask(call, "heartbeat", body, cfOf(request)));
    }
    case "edge_unregister":
      return jsonResponse(await ask(call, "unregister", route.name));
    case "edge_peers": {
      const { body } = await readChecked(request, BODY_BYTES_MAX, NEWS);
      return jsonResponse(await ask(call, "peers", body, request.headers.get("X-API-Key") ?? ""));
    }
    case "edge_coordinators":
      return nearest(call);
    case "coordinators":
      return jsonResponse(await ask(call, "coordinators"));
    case "health":
      return jsonResponse(await ask(call, "health"));
    case "healthz":
    case "readyz":
      return jsonResponse({ status: "ok" });
    default: {
      const isElsewhere = route.operation === "discover" && asksEverywhere(url);
      return VIEWS.includes(route.operation) && !isElsewhere ? view(call) : forward(call);
    }
  }
}

/* Keys say services by their names. Aliases of a catalog of the coordinators' own are theirs to judge: a key that names
 * services is refused for them here. */
const catalog = defaultCatalog();

export default entry(run, (name) => catalog.nameOf(name));
