/**
 * The workers of several coordinators together, as gateway/federation/federation.h has them. Each coordinator is a
 * region; a region that does not answer keeps the workers that it was last known to have. A worker is held by one
 * region: when two list it, it counts once, where it registered last, by the coordinators' clocks.
 *
 * No I/O and no clock.
 */

import { defaultCatalog } from "./catalog.js";
import { isHealthy } from "./worker_list.js";

/**
 * @typedef {object} Holding who holds a worker
 * @property {string} region
 * @property {object | null} worker null: it has registered a moment ago, and no list shows it yet
 * @property {number} registeredAtMs
 * @property {number} listing the last list that showed it
 *
 * @typedef {object} Offer of a service
 * @property {{worker: object, region: string}[]} workers healthy or not
 * @property {Set<string>} regions that have a healthy one
 */

/** @type {Offer} */
const NO_OFFER = { workers: [], regions: new Set() };

export class Federation {
  constructor() {
    /** @type {Map<string, Holding>} by worker id */
    this.holdings = new Map();
    this.listing = 0;
    this.current = defaultCatalog();
    /** @type {Map<string, Offer> | null} by service; null: it has to be made anew */
    this.offers = null;
  }

  get catalog() {
    return this.current;
  }

  set catalog(catalog) {
    this.current = catalog;
    this.offers = null; /* aliases may mean something else */
  }

  /**
   * @param {string} region
   * @param {object[]} workers of its list, read whole
   * @returns {number} how many of them it holds
   */
  takeList(region, workers) {
    this.listing++;
    this.offers = null;
    let count = 0;
    for (const worker of workers) {
      const holding = this.holdings.get(worker.worker_id);
      const registeredAtMs = worker.registered_at === null ? 0 : Date.parse(worker.registered_at);
      if (holding !== undefined && holding.region !== region && holding.registeredAtMs >= registeredAtMs) {
        continue;
      }
      const listing = Math.max(this.listing, holding?.region === region ? holding.listing : 0);
      this.holdings.set(worker.worker_id, { region, worker, registeredAtMs, listing });
      count++;
    }
    for (const [id, holding] of this.holdings) {
      if (holding.region === region && holding.listing < this.listing) {
        this.holdings.delete(id);
      }
    }
    return count;
  }

  /** A worker has registered there a moment ago, before any list shows it. */
  hold(workerId, region, unixMs) {
    const before = this.holdings.get(workerId);
    this.offers = null;
    const worker = before?.region === region ? before.worker : null;
    /* A list that is on its way may not have it yet. */
    this.holdings.set(workerId, { region, worker, registeredAtMs: unixMs, listing: this.listing + 1 });
  }

  /** It has unregistered. */
  release(workerId) {
    this.offers = null;
    this.holdings.delete(workerId);
  }

  /** The region is no more. */
  dropRegion(region) {
    this.offers = null;
    for (const [id, holding] of this.holdings) {
      if (holding.region === region) {
        this.holdings.delete(id);
      }
    }
  }

  /** @returns {string | undefined} the region that holds a worker */
  holderOf(workerId) {
    return this.holdings.get(workerId)?.region;
  }

  /** @returns {Generator<{worker: object, region: string}>} */
  *workers() {
    for (const { worker, region } of this.holdings.values()) {
      if (worker !== null) {
        yield { worker, region };
      }
    }
  }

  /** Names of all services of a worker, its own and those that it was assigned. */
  servicesOf(worker) {
    const names = worker.services.map((service) => this.catalog.nameOf(service.name));
    return [...new Set([...names, ...worker.assigned_services])];
  }

  /** Where a service is on a worker. */
  serviceUrl(worker, service) {
    const own = worker.services.find((one) => this.catalog.nameOf(one.name) === service && one.url !== undefined);
    return own === undefined ? worker.tunnel_url : own.url;
  }

  /**
   * @param {string} service name or alias
   * @returns {{worker: object, region: string}[]} healthy or not
   */
  offering(service) {
    return this.offerOf(service).workers;
  }

  /** @param {string} service name or alias @returns {Set<string>} regions that have a healthy worker for it */
  regionsOffering(service) {
    return this.offerOf(service).regions;
  }

  offerOf(service) {
    this.offers ??= this.makeOffers();
    return this.offers.get(this.catalog.nameOf(service)) ?? NO_OFFER;
  }

  makeOffers() {
    const offers = new Map();
    for (const held of this.workers()) {
      for (const name of this.servicesOf(held.worker)) {
        const offer = offers.get(name) ?? { workers: [], regions: new Set() };
        offer.workers.push(held);
        if (isHealthy(held.worker)) {
          offer.regions.add(held.region);
        }
        offers.set(name, offer);
      }
    }
    return offers;
  }

  /** The healthy ones, the least loaded first. */
  healthyOffering(service) {
    return this.offering(service)
      .filter(({ worker }) => isHealthy(worker))
      .sort(
        (left, right) =>
          left.worker.current_load - right.worker.current_load ||
          (left.worker.worker_id < right.worker.worker_id ? -1 : 1),
      );
  }
}
