/**
 * Lists of workers as coordinators give them (GET /api/coordinator/workers and /api/admin/workers). Whoever gives one
 * may lie, or be of another make: only members that are known are taken, each only if it is what it should be.
 */

import { TYPES } from "./catalog.js";
import { isObject, line, segment } from "./fields.js";
import { parseOrigin, withoutSlashes } from "./origin.js";

const STATUSES = ["online", "degraded", "draining", "offline", "reconnecting", "unknown"];
const SERVICES_MAX = 1000;
const LOAD_MAX = 1e9;

const isName = segment(128);
const textOf = (value, maximum) => (typeof value === "string" && line(maximum)(value) === "" ? value : "");
const numberOf = (value) => (typeof value === "number" && value >= 0 && value <= LOAD_MAX ? value : 0);
const wholeOf = (value) => (Number.isSafeInteger(value) && value >= 0 ? value : 0);
const namesOf = (value) =>
  Array.isArray(value) ? value.filter((name) => isName(name) === "").slice(0, SERVICES_MAX) : [];
const textsOf = (value) => (Array.isArray(value) ? value.map((one) => textOf(one, 1024)).filter(Boolean) : []);

function timeOf(value) {
  const unixMs = typeof value === "string" ? Date.parse(value) : Number.NaN;
  return Number.isNaN(unixMs) ? null : new Date(unixMs).toISOString();
}

function servicesOf(value) {
  const services = [];
  for (const item of Array.isArray(value) ? value.slice(0, SERVICES_MAX) : []) {
    const service = typeof item === "string" ? { name: item } : item;
    if (!isObject(service) || isName(service.name) !== "") {
      continue;
    }
    const url = parseOrigin(service.url);
    services.push({
      name: service.name,
      ...(url === null ? {} : { url: withoutSlashes(service.url) }),
      capabilities: textsOf(service.capabilities),
    });
  }
  return services;
}

function statesOf(value) {
  const states = {};
  for (const [name, state] of isObject(value) ? Object.entries(value).slice(0, SERVICES_MAX) : []) {
    if (typeof state === "string" && name !== "__proto__") {
      states[name] = textOf(state, 1024);
    }
  }
  return states;
}

/**
 * @param {unknown} item of a list
 * @returns {object | null} a Worker of API.md; null: it cannot be understood
 */
export function readWorker(item) {
  if (!isObject(item) || segment(256)(item.worker_id) !== "") {
    return null;
  }
  const url = [item.tunnel_url, item.service_url, item.url].find((one) => parseOrigin(one) !== null);
  if (url === undefined) {
    return null;
  }
  const type = TYPES.includes(item.worker_type) ? item.worker_type : "cpu";
  const changed = timeOf(item.status_changed_at);
  const reason = textOf(item.status_reason, 1024);
  return {
    worker_id: item.worker_id,
    tunnel_url: withoutSlashes(url),
    service_url: withoutSlashes(url),
    worker_type: type,
    tier: TYPES.indexOf(type) + 1,
    location: textOf(item.location, 256),
    status: STATUSES.includes(item.status) ? item.status.replace("unknown", "offline") : "online",
    ...(reason === "" ? {} : { status_reason: reason }),
    ...(changed === null ? {} : { status_changed_at: changed }),
    capabilities: isObject(item.capabilities) ? item.capabilities : {},
    services: servicesOf(item.services),
    assigned_services: namesOf(item.assigned_services),
    containers: Array.isArray(item.containers) ? item.containers : [],
    registered_at: timeOf(item.registered_at),
    last_heartbeat: timeOf(item.last_heartbeat),
    current_load: numberOf(item.current_load),
    available_memory: textOf(item.available_memory, 1024),
    gpu_utilization: numberOf(item.gpu_utilization),
    active_requests: wholeOf(item.active_requests),
    queue_depth: wholeOf(item.queue_depth),
    loaded_models: textsOf(item.loaded_models),
    specialization: textOf(item.specialization, 1024),
    services_status: statesOf(item.services_status),
    tasks_completed: wholeOf(item.tasks_completed),
    incarnation: wholeOf(item.incarnation) || 1,
  };
}

/** Whether requests may go to it. */
export function isHealthy(worker) {
  return worker.status === "online" || worker.status === "degraded";
}

/**
 * @param {string} text of a whole answer
 * @returns {{workers: object[], catalog: unknown}} workers that cannot be understood are left out
 * @throws {Error} it is no list
 */
export function readList(text) {
  let list;
  try {
    list = JSON.parse(text);
  } catch {
    throw new Error("it is not JSON, or was cut");
  }
  if (!isObject(list) || !Array.isArray(list.workers)) {
    throw new Error("it has no array called workers");
  }
  return { workers: list.workers.map(readWorker).filter((worker) => worker !== null), catalog: list.catalog };
}
