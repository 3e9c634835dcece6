/** Bodies of the edge federation, as gateway/edge_schemas.c and gateway/schemas.c have them. */

import { flag, line, list, map, name, number, object, segment, text, url, whole, word } from "../shared/fields.js";

const COUNT_MAX = 2 ** 32 - 1;
const WORDS = ["healthy", "online", "degraded", "draining"];

const coordinator = {
  tunnel_url: url(),
  url: url(),
  location: line(256),
  capabilities: object(65536, {
    location: line(256),
    dht_port: whole(65535),
    latitude: number(90, -90),
    longitude: number(180, -180),
  }),
};

/** POST /api/edge/register */
export const REGISTRATION = {
  rules: { worker_id: segment(256), ...coordinator, proof_key: name(128) },
  oneOf: ["tunnel_url", "url"],
};

/** POST /api/edge/heartbeat */
export const HEARTBEAT = {
  rules: {
    worker_id: segment(256),
    incarnation: whole(2 ** 53),
    status: word(WORDS),
    workers: whole(COUNT_MAX),
    services: map(1000, whole(COUNT_MAX)),
    load: number(1e9),
    cpu_percent: number(1e9),
    memory_percent: number(1e9),
    queue_depth: whole(COUNT_MAX),
  },
  required: ["worker_id"],
};

const heard = object(131072, {
  worker_id: segment(256),
  ...coordinator,
  age_ms: whole(1000 * 86400 * 365),
  gone: flag(),
});

/** POST /api/edge/peers */
export const NEWS = {
  rules: {
    from: segment(256),
    coordinators: list(1000, (item) => {
      const fault = heard(item);
      const lacks = ["worker_id", "age_ms"].find((member) => fault === "" && (item[member] ?? null) === null);
      return lacks === undefined ? fault : `.${lacks} is required`;
    }),
  },
  required: ["from", "coordinators"],
};

/** POST /api/worker/register, as far as an edge router has to know it: the coordinator checks the rest. */
export const WORKER = {
  rules: {
    worker_id: segment(256),
    tunnel_url: url(),
    service_url: url(),
    url: url(),
    worker_type: word(["auto", "gpu", "cpu", "storage", "edge"]),
    role: line(256),
    location: line(256),
  },
  oneOf: ["tunnel_url", "service_url", "url"],
};

/** POST /api/worker/heartbeat, likewise. */
export const WORKER_HEARTBEAT = { rules: { worker_id: text(256) }, required: ["worker_id"] };

/** Who a coordinator is, of a body that has been checked. */
export function coordinatorOf(body) {
  const capabilities = body.capabilities ?? {};
  return {
    id: body.worker_id ?? "",
    url: (body.tunnel_url ?? body.url ?? "").replace(/\/+$/, ""),
    location: body.location ?? capabilities.location ?? "",
    capabilities,
  };
}
