/** The lists of an edge router, made of the roll and the regions. No I/O. */

import * as views from "../shared/views.js";
import { mayServe } from "./roll.js";

export class Lists {
  /** @param {import("./roll.js").Roll} roll @param {import("./regions.js").Regions} regions */
  constructor(roll, regions) {
    this.roll = roll;
    this.regions = regions;
  }

  /** How the regions are, in the order of their coordinators' ids. */
  shownRegions() {
    const now = Date.now();
    const { federation } = this.regions;
    const counts = new Map();
    for (const { region } of federation.holdings.values()) {
      counts.set(region, (counts.get(region) ?? 0) + 1);
    }
    return [...this.roll.entries.values()]
      .sort((left, right) => (left.kept.id < right.kept.id ? -1 : 1))
      .map((entry) => {
        const region = this.regions.regions.get(entry.kept.id);
        const isReached = !region.standing.out;
        return {
          coordinator: entry.kept.id,
          url: entry.kept.url,
          location: entry.kept.location,
          status: isReached ? this.roll.statusOf(entry, now) : "unreachable",
          as_of: region.asOfMs === null ? null : new Date(region.asOfMs).toISOString(),
          workers: counts.get(entry.kept.id) ?? 0,
          ...(region.problem === "" ? {} : { problem: region.problem }),
          answers: isReached && region.isRead && region.problem === "",
        };
      });
  }

  /** GET /api/admin/coordinators: times are integers there, clients compute with them. */
  coordinators() {
    const now = Date.now();
    return this.shownRegions().map(({ coordinator, workers }) => {
      const entry = this.roll.get(coordinator);
      const region = this.regions.regions.get(coordinator);
      const status = this.roll.statusOf(entry, now);
      const { services, load, cpu_percent, memory_percent, queue_depth } = entry.said;
      return {
        worker_id: coordinator,
        tunnel_url: entry.kept.url,
        location: entry.kept.location,
        registered_at: entry.kept.registeredAtMs,
        last_seen: entry.lastSeenMs,
        status,
        in_pool: mayServe(status) && !region.standing.out,
        ...(region.problem === "" ? {} : { problem: region.problem }),
        as_of: region.asOfMs,
        workers,
        ...{ services, load, cpu_percent, memory_percent, queue_depth },
        latency_ms: region.standing.latencyMs || null,
        capabilities: entry.kept.capabilities,
        incarnation: entry.kept.incarnation,
      };
    });
  }

  /** @param {string} name of the operation @returns {object | null} null: nobody offers the service */
  render(name, service) {
    const { federation } = this.regions;
    const regions = this.shownRegions();
    const now = Date.now();
    switch (name) {
      case "workers":
        return views.workersView(federation, now, regions);
      case "services":
        return views.servicesView(federation, now, regions);
      case "discover":
        return views.discoveryView(federation, service, regions);
      case "admin_workers":
        return views.adminWorkersView(federation, now, regions);
      case "admin_services":
        return views.adminServicesView(federation, now, regions);
      case "admin_gaps":
        return views.gapsView(federation, now, regions);
      case "admin_stats":
        return views.statsView(federation, now, regions);
      default:
        return views.topologyView(
          federation,
          now,
          regions,
          regions.map(({ coordinator, url, location, status }) => ({
            ...{ id: coordinator, url, location, status },
            lastSeenMs: this.roll.get(coordinator).lastSeenMs,
          })),
        );
    }
  }
}
