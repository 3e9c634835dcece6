/**
 * The regions of an edge router: what is soft about each coordinator, and the reading of their lists of workers
 * (gateway/backend_edge_regions.c). There is no timer that reads them: a Durable Object that sleeps costs nothing. A
 * list is read when somebody asks and it is older than the interval, or something has changed through here, and when
 * its coordinator's heartbeat comes.
 */

import { Federation } from "../shared/federation.js";
import { readStream } from "../shared/http.js";
import { readList } from "../shared/worker_list.js";
import { newStanding, noteAnswer, noteFailure } from "./pool.js";

const LIST_PATH = "/api/admin/workers";
const LIST_BYTES_MAX = 16 << 20;
/** Nobody waits longer than that for regions that are slow to answer. */
const WAIT_LIMIT_MS = 3000;
/** What reading a long list takes is followed by so many times as long without. */
const REST_FACTOR = 19;
const REST_LIMIT_MS = 60000;

/**
 * @typedef {object} Region
 * @property {string} id the coordinator's
 * @property {string} url
 * @property {string} location
 * @property {object} standing of pool.js
 * @property {object | null} place
 * @property {boolean} isRead its list was read whole at least once
 * @property {number | null} asOfMs when that was asked for
 * @property {string} problem "": none
 * @property {number} askedMs 0: never
 * @property {number} restUntilMs
 * @property {boolean} isDirty something has changed there since
 * @property {Promise<void> | null} reading
 * @property {Promise<void> | null} again the reading that follows it
 */

export class Regions {
  /** @param {{instance: string, key: string, intervalMs: number, timeoutMs: number, silenceMs: number}} options */
  constructor(options) {
    Object.assign(this, options);
    this.federation = new Federation();
    /** @type {Map<string, Region>} by coordinator */
    this.regions = new Map();
    this.readAllMs = 0;
  }

  /** One that has registered is in the pool when its workers could be read; one that was restored is at once. */
  put(who, isNew) {
    const before = this.regions.get(who.id);
    const standing = newStanding();
    standing.out = isNew;
    const place = placeOf(who.capabilities);
    const region = {
      ...{ id: who.id, url: who.url, location: who.location, standing, place, placeIsOwn: place !== null },
      ...{
        isRead: false,
        asOfMs: null,
        problem: "",
        askedMs: 0,
        restUntilMs: 0,
        isDirty: true,
        reading: null,
        again: null,
      },
    };
    if (before !== undefined) {
      this.federation.dropRegion(who.id);
    }
    this.regions.set(who.id, region);
    return region;
  }

  remove(id) {
    this.regions.delete(id);
    this.federation.dropRegion(id);
    this.readAllMs = 0; /* workers of one that has gone may be held by another one as well */
    this.regions.forEach((region) => (region.isDirty = true));
  }

  isStale(region) {
    const now = Date.now();
    return region.isDirty || (now - region.askedMs >= this.intervalMs && now >= region.restUntilMs);
  }

  /** Reads the region anew, now or right after what is under way. */
  read(region) {
    if (region.reading === null) {
      region.reading = this.readNow(region).finally(() => (region.reading = null));
      return region.reading;
    }
    region.again ??= region.reading.then(() => {
      region.again = null;
      return this.read(region);
    });
    return region.again;
  }

  /** Reads in the background what is older than it should be. */
  refresh() {
    for (const region of this.regions.values()) {
      if (region.reading === null && this.isStale(region)) {
        this.read(region);
      }
    }
  }

  /** Waits, but not for ever, for what is being read of those regions that answer. */
  async wait(regions) {
    const waited = regions.filter((region) => !region.standing.out).map((region) => region.again ?? region.reading);
    await withLimit(Promise.all(waited));
  }

  /** For lists: what a client has changed through here shows, and nothing is older than the interval. */
  async readForView() {
    const regions = [...this.regions.values()];
    regions.filter((region) => this.isStale(region)).forEach((region) => this.read(region));
    /* What was begun by others before may be what shows the change. */
    await this.wait(regions);
  }

  async readAll() {
    const regions = [...this.regions.values()];
    regions.forEach((region) => this.read(region));
    await this.wait(regions);
    this.readAllMs = Date.now();
  }

  async readNow(region) {
    const askedMs = Date.now();
    region.askedMs = askedMs;
    region.isDirty = false;
    try {
      const { workers, firstByteMs } = await this.fetchList(region);
      if (this.regions.get(region.id) !== region) {
        return; /* it has registered anew, or gone */
      }
      this.federation.takeList(region.id, workers);
      region.isRead = true;
      region.asOfMs = askedMs;
      region.problem = "";
      noteAnswer(region.standing, firstByteMs, Date.now());
      region.restUntilMs = Date.now() + Math.min((Date.now() - askedMs) * REST_FACTOR, REST_LIMIT_MS);
    } catch (error) {
      region.problem = error.message.slice(0, 160);
      /* One that refuses is there all the same. */
      error.isRefusal ? noteAnswer(region.standing, 0, Date.now()) : noteFailure(region.standing, Date.now());
    }
  }

  async fetchList(region) {
    const headers = { Accept: "application/json", "X-Muster-Hops": this.instance };
    if (this.key !== "") {
      headers["X-API-Key"] = this.key;
    }
    const controller = new AbortController();
    const whole = setTimeout(() => controller.abort(), this.timeoutMs);
    const silence = setTimeout(() => controller.abort(), Math.min(this.silenceMs, this.timeoutMs));
    const begunMs = Date.now();
    let response, body;
    try {
      response = await fetch(region.url + LIST_PATH, { headers, redirect: "manual", signal: controller.signal });
      clearTimeout(silence);
      const firstByteMs = Math.max(Date.now() - begunMs, 1);
      body = await readStream(response.body, LIST_BYTES_MAX);
      if (response.status === 200 && body !== null) {
        return { ...listOf(body), firstByteMs };
      }
    } catch (error) {
      const isLate = controller.signal.aborted;
      throw error.isListFault ? error : new Error(`it does not answer${isLate ? " in time" : `: ${error.message}`}`);
    } finally {
      clearTimeout(whole);
      clearTimeout(silence);
    }
    throw refusalOf(response.status, body === null);
  }
}

function listOf(body) {
  try {
    return readList(new TextDecoder().decode(body));
  } catch (error) {
    throw Object.assign(new Error(`its list of workers cannot be read: ${error.message}`), { isListFault: true });
  }
}

function refusalOf(status, isTooLong) {
  if (isTooLong) {
    return new Error(`its list of workers is longer than ${LIST_BYTES_MAX} bytes`);
  }
  const isRefusal = status >= 400 && status < 500;
  const message = [401, 403].includes(status)
    ? `it refuses to list its workers (${status}); set the secret FEDERATION_KEY`
    : `it answered ${status} to GET ${LIST_PATH}`;
  return Object.assign(new Error(message), { isRefusal });
}

async function withLimit(promise) {
  let timer;
  const limit = new Promise((resolve) => (timer = setTimeout(resolve, WAIT_LIMIT_MS)));
  await Promise.race([promise, limit]);
  clearTimeout(timer);
}

/** @param {object} said latitude and longitude, as numbers or texts @returns {object | null} */
export function placeOf(said) {
  const [latitude, longitude] = [said?.latitude, said?.longitude].map((value) =>
    value === undefined || value === null || value === "" ? Number.NaN : Number(value),
  );
  const isPlace = Math.abs(latitude) <= 90 && Math.abs(longitude) <= 180;
  return isPlace ? { latitude, longitude } : null;
}
