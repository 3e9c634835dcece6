/**
 * Lists of the contract, made from a federation's workers: plain objects, to be written as JSON. `regions` are shown
 * where they are given (an edge router), with `as_of`; each is what router/regions.js says of one.
 */

import { TYPES } from "./catalog.js";
import { isHealthy } from "./worker_list.js";

const byName = (left, right) => (left < right ? -1 : left > right ? 1 : 0);

function regionMembers(regions) {
  if (regions === undefined) {
    return {};
  }
  const times = regions.filter((region) => region.answers && region.as_of !== null).map((region) => region.as_of);
  return {
    as_of: times.length === 0 ? null : times.sort(byName)[0],
    regions: regions.map(({ answers, ...shown }) => shown),
  };
}

/** Workers with the region of each, in the order of their ids. */
function listed(federation) {
  return [...federation.workers()].sort((left, right) => byName(left.worker.worker_id, right.worker.worker_id));
}

const withRegion = ({ worker, region }) => ({ ...worker, coordinator: region });

/** GET /api/coordinator/workers */
export function workersView(federation, nowMs, regions) {
  const workers = listed(federation).filter(({ worker }) => isHealthy(worker));
  return {
    workers: workers.map(withRegion),
    count: workers.length,
    timestamp: new Date(nowMs).toISOString(),
    catalog: [...federation.catalog.services.values()],
    ...regionMembers(regions),
  };
}

/** Since it was heard, as far as its coordinator says. */
function ageSeconds(worker, nowMs) {
  const heard = worker.last_heartbeat ?? worker.registered_at;
  return heard === null ? 0 : Math.max(nowMs - Date.parse(heard), 0) / 1000;
}

/** GET /api/admin/workers */
export function adminWorkersView(federation, nowMs, regions) {
  const workers = listed(federation).map((one) => ({
    ...withRegion(one),
    age_seconds: ageSeconds(one.worker, nowMs),
    is_healthy: isHealthy(one.worker),
  }));
  const healthy = workers.filter((worker) => worker.is_healthy).length;
  return { workers, total: workers.length, healthy, ...regionMembers(regions) };
}

/** Workers by the service that they offer. */
function byService(federation) {
  const services = new Map([...federation.catalog.services.keys()].map((name) => [name, []]));
  for (const { worker } of listed(federation)) {
    for (const name of federation.servicesOf(worker)) {
      services.set(name, [...(services.get(name) ?? []), worker]);
    }
  }
  return new Map([...services].sort(([left], [right]) => byName(left, right)));
}

const healthyCount = (workers) => workers.filter(isHealthy).length;

/** GET /api/services/list */
export function servicesView(federation, nowMs, regions) {
  const services = [];
  for (const [name, workers] of byService(federation)) {
    const requires = federation.catalog.services.get(name)?.requires ?? null;
    const tier = requires === null ? null : TYPES.indexOf(requires) + 1;
    services.push([name, { name, healthy_workers: healthyCount(workers), tier, requires }]);
  }
  return {
    services: Object.fromEntries(services),
    total_available: services.filter(([, service]) => service.healthy_workers > 0).length,
    timestamp: new Date(nowMs).toISOString(),
    ...regionMembers(regions),
  };
}

/** GET /api/admin/services */
export function adminServicesView(federation, nowMs, regions) {
  const services = [...byService(federation)]
    .filter(([, workers]) => workers.length > 0)
    .map(([name, workers]) => ({
      name,
      workers: workers.map((worker) => worker.worker_id),
      worker_count: workers.length,
    }));
  return { services, total_services: services.length, ...regionMembers(regions) };
}

/** GET /api/admin/gaps */
export function gapsView(federation, nowMs, regions) {
  const services = byService(federation);
  const gaps = [...federation.catalog.services.values()].map((service) => {
    const workers = healthyCount(services.get(service.name) ?? []);
    return {
      service: service.name,
      required_type: service.requires,
      priority: service.priority,
      current_workers: workers,
      status: ["critical", "warning", "ok"][Math.min(workers, 2)],
      port: service.port,
    };
  });
  const rank = (gap) => Math.min(gap.current_workers, 2);
  gaps.sort((a, b) => rank(a) - rank(b) || a.priority - b.priority || byName(a.service, b.service));
  const critical = gaps.filter((gap) => gap.status === "critical");
  const warnings = gaps.filter((gap) => gap.status === "warning");
  const summary = {
    total_services: gaps.length,
    covered: gaps.length - critical.length,
    needs_attention: critical.length + warnings.length,
  };
  return { gaps, critical_gaps: critical, warnings, summary, ...regionMembers(regions) };
}

/** GET /api/admin/stats */
export function statsView(federation, nowMs, regions) {
  const workers = listed(federation).map(({ worker }) => worker);
  const healthy = healthyCount(workers);
  const tiers = [1, 2, 3, 4].map((tier) => [String(tier), workers.filter((worker) => worker.tier === tier).length]);
  return {
    total_workers: workers.length,
    healthy_workers: healthy,
    offline_workers: workers.length - healthy,
    by_tier: Object.fromEntries(tiers),
    ...regionMembers(regions),
  };
}

/** What GET /health says of workers. */
export function healthCounts(federation) {
  const workers = listed(federation).map(({ worker }) => worker);
  const active = healthyCount(workers);
  return { total: workers.length, active, stale: workers.length - active };
}

/** GET /api/topology */
export function topologyView(federation, nowMs, regions, coordinators) {
  const workers = listed(federation);
  const services = [...byService(federation)];
  const average = (list) => {
    const healthy = list.filter(({ worker }) => isHealthy(worker));
    return healthy.length === 0 ? 0 : healthy.reduce((sum, one) => sum + one.worker.current_load, 0) / healthy.length;
  };
  const shown = coordinators.map(({ id, url, location, status, lastSeenMs }) => {
    const own = workers.filter(({ region }) => region === id);
    const last_seen = new Date(lastSeenMs).toISOString();
    return { id, url, location, workers: own.length, workers_count: own.length, load: average(own), status, last_seen };
  });
  return {
    workers: workers.map(({ worker, region }) => ({
      id: worker.worker_id,
      type: worker.worker_type,
      coordinator: region,
      coordinator_id: region,
      services: federation.servicesOf(worker),
      status: worker.status,
      tunnel_url: worker.tunnel_url,
      location: worker.location,
      capabilities: worker.capabilities,
      metrics: { current_load: worker.current_load },
      incarnation: worker.incarnation,
      last_seen: worker.last_heartbeat,
    })),
    connections: workers.map(({ worker, region }) => ({
      from: region,
      to: worker.worker_id,
      type: "worker",
      active: isHealthy(worker),
    })),
    coordinators: shown,
    statistics: {
      total_coordinators: shown.length,
      active_coordinators: shown.filter(({ status }) => status === "online" || status === "degraded").length,
      total_workers: workers.length,
      active_workers: healthyCount(workers.map(({ worker }) => worker)),
      total_services: services.length,
      covered_services: services.filter(([, offering]) => healthyCount(offering) > 0).length,
      average_load: average(workers),
    },
    ...regionMembers(regions),
    revision: federation.listing,
    complete: true,
    timestamp: new Date(nowMs).toISOString(),
  };
}

/** GET /api/services/discover/{service}; null: nobody offers it */
export function discoveryView(federation, service, regions) {
  const name = federation.catalog.nameOf(service);
  const workers = federation.healthyOffering(name).map(({ worker, region }) => ({
    worker_id: worker.worker_id,
    tunnel_url: federation.serviceUrl(worker, name),
    capabilities: worker.capabilities,
    load: worker.current_load,
    last_heartbeat: worker.last_heartbeat,
    coordinator_id: region,
  }));
  if (workers.length === 0) {
    return null;
  }
  return {
    service: name,
    workers,
    count: workers.length,
    recommended: workers[0].worker_id,
    ...regionMembers(regions),
  };
}
