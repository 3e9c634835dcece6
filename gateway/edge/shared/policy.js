/**
 * Which worker a request goes to: the policy "least-loaded" of services/router and the choice of gateway/pick.h, for
 * one isolate.
 *
 *   weight     free capacity divided among the requests that wait already, from 1 to 100 in steps of 5
 *   priority   online before degraded before those that were not heard since a restart
 *   choice     two are drawn by weight; the one with fewer requests of this isolate in flight, by weight, gets it
 *   out        who could not be reached is passed over for a second; after three failures in a row for 5 s, twice as
 *              long each time. When nobody else is left they are tried all the same
 *
 * No I/O; time is an argument.
 */

const WEIGHT_STEPS = 20;
const SKIP_MS = 1000;
const OUTLIER_FAILURES = 3;
const EJECTION_FIRST_MS = 5000;
const EJECTION_LONGEST_MS = 300000;
const REMEMBERED_MAX = 10000;

/** Of the n-th ejection in a row, from 1. */
export function ejectionMs(number) {
  return Math.min(EJECTION_FIRST_MS * 2 ** Math.min(number - 1, 20), EJECTION_LONGEST_MS);
}

/** @param {object} worker @returns {number} 1 to 100 */
export function weightOf(worker) {
  const left = 1 - Math.min(Math.max(worker.current_load, 0), 1);
  const isKnown = worker.last_heartbeat !== null;
  const score = isKnown ? Math.max(left / (1 + worker.queue_depth), 0.01) : 0.5;
  return Math.max(Math.floor(score * WEIGHT_STEPS + 0.5) * (100 / WEIGHT_STEPS), 1);
}

function priorityOf(worker) {
  return { online: 0, degraded: 1 }[worker.status] ?? 2;
}

/** Whether it may get requests for the service at all. */
export function isEligible(worker, service) {
  const state = Object.hasOwn(worker.services_status, service) ? worker.services_status[service] : "running";
  return ["online", "degraded", "reconnecting"].includes(worker.status) && state === "running";
}

/** What one isolate knows beyond the lists. */
export class Picker {
  /** @param {() => number} random from 0 to 1 */
  constructor(random = Math.random) {
    this.random = random;
    /** @type {Map<string, {inFlight: number, failures: number, ejections: number, outUntilMs: number}>} */
    this.workers = new Map();
  }

  begin(workerId) {
    this.remember(workerId).inFlight++;
  }

  /** @param {"reached" | "unreachable" | "unknown"} outcome */
  end(workerId, outcome, nowMs) {
    const known = this.remember(workerId);
    known.inFlight = Math.max(known.inFlight - 1, 0);
    if (outcome === "reached") {
      known.failures = known.ejections = known.outUntilMs = 0;
    } else if (outcome === "unreachable") {
      known.failures++;
      const isOutlier = known.failures >= OUTLIER_FAILURES;
      known.ejections += isOutlier ? 1 : 0;
      known.outUntilMs = nowMs + (isOutlier ? ejectionMs(known.ejections) : SKIP_MS);
    }
    if (known.inFlight === 0 && known.failures === 0) {
      this.workers.delete(workerId);
    }
  }

  /**
   * @param {object[]} workers that offer the service
   * @param {string} service
   * @param {Set<string>} tried ids that are not to be chosen
   * @returns {object | null}
   */
  choose(workers, service, tried, nowMs) {
    const eligible = workers.filter((worker) => isEligible(worker, service) && !tried.has(worker.worker_id));
    const isWell = (worker) => (this.workers.get(worker.worker_id)?.outUntilMs ?? 0) <= nowMs;
    for (const candidates of [eligible.filter(isWell), eligible]) {
      const best = Math.min(...candidates.map(priorityOf));
      const chosen = this.chooseInGroup(candidates.filter((worker) => priorityOf(worker) === best));
      if (chosen !== null) {
        return chosen;
      }
    }
    return null;
  }

  chooseInGroup(workers) {
    if (workers.length === 0) {
      return null;
    }
    const first = this.draw(workers);
    const second = this.draw(workers);
    const load = (worker) => (this.workers.get(worker.worker_id)?.inFlight ?? 0) / weightOf(worker);
    return load(second) < load(first) ? second : first;
  }

  draw(workers) {
    let left = this.random() * workers.reduce((sum, worker) => sum + weightOf(worker), 0);
    for (const worker of workers) {
      left -= weightOf(worker);
      if (left < 0) {
        return worker;
      }
    }
    return workers.at(-1);
  }

  remember(workerId) {
    let known = this.workers.get(workerId);
    if (known === undefined) {
      if (this.workers.size >= REMEMBERED_MAX) {
        this.workers.delete(this.workers.keys().next().value);
      }
      known = { inFlight: 0, failures: 0, ejections: 0, outUntilMs: 0 };
      this.workers.set(workerId, known);
    }
    return known;
  }
}
