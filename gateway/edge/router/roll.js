/**
 * The roll of an edge router: which coordinators have registered, and how they are by their heartbeats. What must
 * outlive the Durable Object (entry.kept) is told by the return values; registry.js writes it.
 *
 * Who has not been heard for `timeoutMs` is off the roll. After a restart entries are "reconnecting" until they are
 * heard. If nobody at all was heard for half of that time when it starts, the fault was ours: all get `graceMs` from
 * then on, once.
 *
 * No I/O; time is an argument, in milliseconds since the epoch.
 */

import { ApiError } from "../shared/errors.js";

/** `last seen` is written this often at most: writes are what a Durable Object costs. */
export const LAST_SEEN_KEPT_MS = 60000;

/**
 * @typedef {object} Entry
 * @property {object} kept id, url, location, capabilities, incarnation, registeredAtMs, lastSeenMs, draining, graceMs
 *   (when it was given one; 0: it was not)
 * @property {number} lastSeenMs
 * @property {boolean} isRestored it was not heard since a restart
 * @property {object} said with its last heartbeat
 */

const NOTHING_SAID = {
  status: "healthy",
  workers: 0,
  services: {},
  load: 0,
  cpu_percent: 0,
  memory_percent: 0,
  queue_depth: 0,
};

export class Roll {
  /** @param {{timeoutMs: number, lateMs: number, graceMs: number}} times */
  constructor({ timeoutMs, lateMs, graceMs }) {
    Object.assign(this, { timeoutMs, lateMs, graceMs });
    /** @type {Map<string, Entry>} by id */
    this.entries = new Map();
  }

  /**
   * @param {object[]} rows what was kept
   * @returns {object[]} rows that have changed and are to be kept
   */
  restore(rows, nowMs) {
    const newest = Math.max(0, ...rows.map((row) => row.lastSeenMs));
    const wasAway = nowMs - newest > this.timeoutMs / 2;
    const changed = [];
    for (const row of rows) {
      const kept = { ...row };
      if (wasAway && kept.graceMs <= kept.lastSeenMs) {
        kept.graceMs = nowMs;
        changed.push(kept);
      }
      this.entries.set(kept.id, { kept, lastSeenMs: kept.lastSeenMs, isRestored: true, said: NOTHING_SAID });
    }
    return changed;
  }

  /**
   * @param {{id: string, url: string, location: string, capabilities: object}} who
   * @returns {object} the row, to be kept
   */
  register(who, nowMs) {
    const before = this.entries.get(who.id)?.kept;
    const kept = {
      ...who,
      incarnation: (before?.incarnation ?? 0) + 1,
      registeredAtMs: nowMs,
      lastSeenMs: nowMs,
      draining: before?.draining ?? false,
      graceMs: 0,
    };
    this.entries.set(who.id, { kept, lastSeenMs: nowMs, isRestored: false, said: NOTHING_SAID });
    return kept;
  }

  /**
   * @param {object} said the body of a heartbeat, which has been checked
   * @returns {object | null} the row, if it is to be kept
   * @throws {ApiError}
   */
  hear(said, nowMs) {
    const entry = this.get(said.worker_id);
    if (said.incarnation !== undefined && said.incarnation !== 0 && said.incarnation < entry.kept.incarnation) {
      throw new ApiError(
        "stale_incarnation",
        `coordinator ${said.worker_id} has registered again since; use its id once`,
      );
    }
    entry.said = { ...NOTHING_SAID, ...said };
    return this.touch(entry, nowMs);
  }

  /** It is alive. @returns {object | null} the row, if it is to be kept */
  touch(entry, nowMs) {
    entry.lastSeenMs = nowMs;
    entry.isRestored = false;
    if (nowMs - entry.kept.lastSeenMs < Math.min(LAST_SEEN_KEPT_MS, this.timeoutMs / 4)) {
      return null;
    }
    entry.kept.lastSeenMs = nowMs;
    return entry.kept;
  }

  /** @throws {ApiError} @returns {Entry} */
  get(id) {
    const entry = this.entries.get(id);
    if (entry === undefined) {
      throw new ApiError("unknown_worker", `no coordinator ${id} is registered; register again`);
    }
    return entry;
  }

  /** @throws {ApiError} */
  remove(id) {
    this.get(id);
    this.entries.delete(id);
  }

  /** When it is off the roll if it stays silent. */
  expiresAtMs(entry) {
    const given = entry.kept.graceMs > 0 ? entry.kept.graceMs + this.graceMs : 0;
    return Math.max(entry.lastSeenMs + this.timeoutMs, entry.isRestored ? given : 0);
  }

  /** @returns {string[]} ids of those that are off the roll from now on */
  expire(nowMs) {
    const gone = [...this.entries].filter(([, entry]) => nowMs >= this.expiresAtMs(entry)).map(([id]) => id);
    gone.forEach((id) => this.entries.delete(id));
    return gone;
  }

  /** When the next one is off the roll; null: the roll is empty. */
  nextExpiryMs() {
    const times = [...this.entries.values()].map((entry) => this.expiresAtMs(entry));
    return times.length === 0 ? null : Math.min(...times);
  }

  /** A word of API.md. */
  statusOf(entry, nowMs) {
    if (entry.kept.draining || entry.said.status === "draining") {
      return "draining";
    }
    if (entry.isRestored) {
      return "reconnecting";
    }
    return entry.said.status === "degraded" || nowMs - entry.lastSeenMs > this.lateMs ? "degraded" : "online";
  }
}

/** Whether requests may be sent to one of this status. */
export function mayServe(status) {
  return status !== "draining";
}
