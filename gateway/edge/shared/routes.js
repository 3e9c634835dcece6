/**
 * Which request is which operation of the contract, and which right it takes: what gateway/api.c is for coordinators.
 */

import { ApiError } from "./errors.js";
import { decodeSegment } from "./http.js";

/** path pattern, method ("*": any), operation, right, more. `{x}` is a segment. */
const ROUTES = [
  ["/api/worker/register", "POST", "register", "worker"],
  ["/api/worker/heartbeat", "POST", "heartbeat", "worker", { ownWorker: true }],
  ["/api/worker/unregister/{name}", "DELETE", "unregister", "worker", { ownWorker: true }],
  ["/api/worker/find/{name}", "GET", "find", "client", { isService: true }],
  ["/api/coordinator/workers", "GET", "workers", "client", { allServices: true }],
  ["/api/coordinator/broadcast-job", "POST", "broadcast", "client", { allServices: true }],
  ["/api/services/list", "GET", "services", "client"],
  ["/api/services/discover/{name}", "GET", "discover", "client", { isService: true }],
  ["/api/admin/workers", "GET", "admin_workers", "admin"],
  ["/api/admin/services", "GET", "admin_services", "admin"],
  ["/api/admin/gaps", "GET", "admin_gaps", "admin"],
  ["/api/admin/stats", "GET", "admin_stats", "admin"],
  ["/api/admin/coordinators", "GET", "coordinators", "admin"],
  ["/api/admin/import", "POST", "import", "admin"],
  ["/api/admin/export", "GET", "export", "admin"],
  ["/api/admin/history", "GET", "history", "admin"],
  ["/api/admin/query", "POST", "query", "admin"],
  ["/api/admin/workers/{name}/drain", "POST", "drain", "admin", { ownWorker: true }],
  ["/api/admin/workers/{name}/undrain", "POST", "undrain", "admin"],
  ["/api/admin/workers/{name}/explain", "GET", "explain", "admin"],
  ["/api/topology", "GET", "topology", "admin"],
  ["/api/dht/bootstrap", "GET", "dht", ""],
  ["/api/dht/topology", "GET", "dht", "admin"],
  ["/api/dht/stats", "GET", "dht", "admin"],
  ["/api/dht/lookup/{name}", "GET", "dht", "client", { allServices: true }],
  ["/api/edge/register", "POST", "edge_register", "worker"],
  ["/api/edge/heartbeat", "POST", "edge_heartbeat", "worker"],
  ["/api/edge/unregister/{name}", "DELETE", "edge_unregister", "worker"],
  ["/api/edge/peers", "POST", "edge_peers", "peer"],
  ["/api/edge/coordinators", "GET", "edge_coordinators", "worker"],
  ["/health", "GET", "health", ""],
  ["/healthz", "GET", "healthz", ""],
  ["/readyz", "GET", "readyz", ""],
];

const COMPILED = ROUTES.map(([pattern, method, operation, right, more = {}]) => ({
  segments: pattern.split("/").slice(1),
  method,
  operation,
  right,
  ...more,
}));

function fits(route, segments) {
  return (
    route.segments.length === segments.length &&
    route.segments.every((segment, at) => (segment === "{name}" ? segments[at] !== "" : segment === segments[at]))
  );
}

/** /api/service/{type}[/{rest}] and /service/{type}/{rest} */
function serviceCall(path) {
  const match = /^(\/api)?\/service\/([^/]+)(\/.*)?$/s.exec(path);
  if (match === null || (match[1] === undefined && match[3] === undefined)) {
    return null;
  }
  const isRaw = match[1] === undefined;
  return {
    operation: isRaw ? "relay_raw" : "relay_service",
    right: "client",
    isService: true,
    type: match[2],
    rest: match[3] ?? "",
    name: decodeSegment(match[2]),
  };
}

/**
 * @param {string} method
 * @param {string} path still encoded
 * @returns {object} operation, right, name (of the worker or service that it is about), and for calls of services
 *   type and rest, both still encoded
 * @throws {ApiError}
 */
export function routeOf(method, path) {
  const call = serviceCall(path);
  if (call !== null) {
    return call;
  }
  const segments = path.split("/").slice(1);
  const candidates = COMPILED.filter((route) => fits(route, segments));
  if (candidates.length === 0) {
    throw new ApiError("not_found", `nothing is at ${path.slice(0, 200)}; see README, "On Cloudflare"`);
  }
  const route = candidates.find((one) => one.method === method || (one.method === "GET" && method === "HEAD"));
  if (route === undefined) {
    const allowed = candidates.map((one) => (one.method === "GET" ? "GET, HEAD" : one.method)).join(", ");
    if (method === "OPTIONS") {
      return { operation: "options", right: "", allowed };
    }
    throw new ApiError("method_not_allowed", `use ${allowed} here`, { Allow: allowed });
  }
  const at = route.segments.indexOf("{name}");
  return at < 0 ? route : { ...route, name: decodeSegment(segments[at]) };
}
