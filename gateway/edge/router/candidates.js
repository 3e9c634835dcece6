/** The coordinators that requests may be sent to, made of the roll and the regions. No I/O. */

import { orderOf } from "./pool.js";
import { mayServe } from "./roll.js";

const CHOICES_MAX = 4;

export class Candidates {
  /** @param {import("./roll.js").Roll} roll @param {import("./regions.js").Regions} regions */
  constructor(roll, regions) {
    this.roll = roll;
    this.regions = regions;
  }

  /** Those that requests may be sent to. */
  serving() {
    const now = Date.now();
    return [...this.roll.entries.values()]
      .map((entry) => ({
        entry,
        region: this.regions.regions.get(entry.kept.id),
        status: this.roll.statusOf(entry, now),
      }))
      .filter(({ status }) => mayServe(status));
  }

  /** Those of them that have not failed lately. */
  inPool() {
    return this.serving().filter(({ region }) => !region.standing.out);
  }

  /**
   * @param {object} wish of pool.js
   * @param {string | null} service
   * @returns {{id: string, url: string}[]} whom to try first first
   */
  choices(wish, service) {
    const serving = this.serving();
    const offering = service === null ? new Set() : this.regions.federation.regionsOffering(service);
    const candidates = serving.map(({ entry, region, status }) => ({
      location: entry.kept.location,
      place: region.place,
      standing: region.standing,
      queueDepth: entry.said.queue_depth ?? 0,
      healthy: status === "online",
      /* Of one whose list was never read nothing is known: it may. */
      offers: service === null || !region.isRead || offering.has(entry.kept.id),
    }));
    return orderOf(candidates, wish)
      .slice(0, CHOICES_MAX)
      .map((number) => ({ id: serving[number].entry.kept.id, url: serving[number].entry.kept.url }));
  }
}
