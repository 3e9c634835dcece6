/**
 * Which coordinator a request goes to, and in which order the others are tried: gateway/federation/pool.h, where the
 * rules are explained.
 *
 *   weight   1 / (latency + 1) x 1 / (queue + 1) x health
 *   order    in the pool before out of it; offering the service; closest; then at random by weight
 *   out      a failed request puts one out at once; reaching it again brings it back, the first time at once, later not
 *            before a time has passed that doubles each time
 *
 * No I/O; time is an argument.
 */

import { ejectionMs } from "../shared/policy.js";

const SMOOTHING = 0.2;
const FORGIVEN_MS = 600000;
const UNMEASURED_MS = 100;
const DISTANCE_STEP_KM = 100;
const EARTH_RADIUS_KM = 6371;
/** Of a place that is not known: on the other side of the earth. */
const FAR_KM = 20100;

/**
 * @typedef {object} Standing what is remembered of one coordinator's requests
 * @property {number} success share that went well, the last ones counting most
 * @property {number} latencyMs smoothed; 0: not measured
 * @property {boolean} out
 * @property {number} ejections
 * @property {number} failedAtMs
 *
 * @typedef {{latitude: number, longitude: number}} Place
 *
 * @typedef {object} Candidate
 * @property {string} location "": not known
 * @property {Place | null} place
 * @property {Standing} standing
 * @property {number} queueDepth
 * @property {boolean} healthy else it counts half
 * @property {boolean} offers the service that is asked for
 *
 * @typedef {object} Wish
 * @property {boolean} [offers]
 * @property {boolean} [closest]
 * @property {string} [location] of the client
 * @property {string} [continent] as a location is called
 * @property {Place | null} [place]
 */

/** @returns {Standing} */
export function newStanding() {
  return { success: 1, latencyMs: 0, out: false, ejections: 0, failedAtMs: 0 };
}

/** A request or a reading could not be answered by it. @returns {boolean} it was in the pool until now */
export function noteFailure(standing, nowMs) {
  const wasIn = !standing.out;
  if (wasIn && nowMs - standing.failedAtMs >= FORGIVEN_MS) {
    standing.ejections = 0;
  }
  standing.ejections += wasIn ? 1 : 0;
  standing.out = true;
  standing.failedAtMs = nowMs;
  standing.success *= 1 - SMOOTHING;
  return wasIn;
}

/** One was answered. latencyMs 0: not measured. @returns {boolean} it is back in the pool */
export function noteAnswer(standing, latencyMs, nowMs) {
  standing.success += SMOOTHING * (1 - standing.success);
  if (latencyMs > 0) {
    standing.latencyMs =
      standing.latencyMs <= 0 ? latencyMs : standing.latencyMs + SMOOTHING * (latencyMs - standing.latencyMs);
  }
  const mayReturn = standing.ejections <= 1 || nowMs - standing.failedAtMs >= ejectionMs(standing.ejections - 1);
  if (!standing.out || !mayReturn) {
    return false;
  }
  standing.out = false;
  return true;
}

const latencyOf = (candidate) => candidate.standing.latencyMs || UNMEASURED_MS;

/** @param {Candidate} candidate */
export function weightOf(candidate) {
  const health = (candidate.healthy ? 1 : 0.5) * candidate.standing.success;
  return (1 / (latencyOf(candidate) + 1)) * (1 / (candidate.queueDepth + 1)) * health;
}

/** Along the surface of the earth. @param {Place} a @param {Place} b */
export function distanceKm(a, b) {
  const radians = Math.PI / 180;
  const north = (b.latitude - a.latitude) * radians;
  const east = (b.longitude - a.longitude) * radians;
  const haversine =
    Math.sin(north / 2) ** 2 +
    Math.cos(a.latitude * radians) * Math.cos(b.latitude * radians) * Math.sin(east / 2) ** 2;
  return 2 * EARTH_RADIUS_KM * Math.asin(Math.min(1, Math.sqrt(haversine)));
}

/** 0: the same location; 1: one is a part of the other ("uk", "uk-london"), or the continent; 2: another one */
export function nearness(here, continent, there) {
  const [mine, theirs] = [here.toLowerCase(), there.toLowerCase()];
  if (continent !== "" && continent.toLowerCase() === theirs) {
    return 1;
  }
  if (mine === "" || theirs === "") {
    return 2;
  }
  if (mine === theirs) {
    return 0;
  }
  return mine.startsWith(`${theirs}-`) || theirs.startsWith(`${mine}-`) ? 1 : 2;
}

/** What one is sorted by; lower comes first. */
function rankOf(candidate, wish, random) {
  const rank = [candidate.standing.out ? 1 : 0, wish.offers && !candidate.offers ? 1 : 0];
  if (wish.closest) {
    rank.push(nearness(wish.location ?? "", wish.continent ?? "", candidate.location));
    const distance = candidate.place === null || !wish.place ? FAR_KM : distanceKm(wish.place, candidate.place);
    rank.push(wish.place ? Math.floor(distance / DISTANCE_STEP_KM) : 0);
    /* From 4 ms on: what is below does not matter to anybody. */
    rank.push(Math.floor(Math.log2(latencyOf(candidate) + 4)));
  }
  rank.push(-Math.log(1 - random()) / Math.max(weightOf(candidate), 1e-300));
  return rank;
}

/**
 * @param {Candidate[]} candidates
 * @param {Wish} wish
 * @param {() => number} [random] from 0 to 1
 * @returns {number[]} numbers of all of them, whom to try first first
 */
export function orderOf(candidates, wish, random = Math.random) {
  const ranks = candidates.map((candidate) => rankOf(candidate, wish, random));
  const compare = (left, right) => {
    const at = ranks[left].findIndex((value, index) => value !== ranks[right][index]);
    return at < 0 ? left - right : ranks[left][at] - ranks[right][at];
  };
  return candidates.map((_, number) => number).sort(compare);
}
