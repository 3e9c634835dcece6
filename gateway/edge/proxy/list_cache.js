/**
 * The coordinators' lists of workers: in the memory of this isolate, in the Cache API of the data centre, and, when
 * both are older than the interval, from the coordinators. The last list is good for as long as no newer one can be
 * had; how old it is, is known.
 *
 *   fresh        younger than the interval: nobody is asked
 *   due          older: one request has it asked for while it goes on with what there is
 *   much too old twice the interval, and nothing has failed: the request waits for the answer
 *   unknown      whoever comes asks and waits, also while others do
 *   failed       asked again after `retryMs`, twice as long each time, never longer than the interval
 *   out of date  (somebody could not be reached, or nobody was found): asked again, if the last time was `retryMs` ago
 *
 * Promises are never shared between requests, which the runtime forbids: who asks, asks for itself.
 *
 * I/O and time come in from outside: `ask` and `store`, see worker.js.
 */

import { Catalog } from "../shared/catalog.js";
import { Federation } from "../shared/federation.js";
import { readList } from "../shared/worker_list.js";

/**
 * @typedef {object} Answer of a coordinator
 * @property {number} status
 * @property {string} text
 * @property {string} etag "": none
 *
 * @typedef {object} Kept what the store has
 * @property {string} text
 * @property {string} etag
 * @property {number} askedMs when it was asked for, in milliseconds since the epoch
 *
 * @typedef {object} List
 * @property {string} url of the coordinator
 * @property {number | null} bornMs when what is known was asked for; null: nothing is known
 * @property {string} etag
 * @property {number} askedMs 0: never
 * @property {number} nextMs when it is due
 * @property {number} failures in a row
 * @property {string} problem "": none
 */

/** How long an answer may be waited for before others ask as well. */
const ASKING_MS = 10000;

export class ListCache {
  /**
   * @param {object} options
   * @param {string[]} options.urls of the coordinators
   * @param {number} options.intervalMs
   * @param {number} options.retryMs
   * @param {(url: string, etag: string) => Promise<Answer>} options.ask
   * @param {object} options.store
   * @param {(url: string) => Promise<Kept | null>} options.store.get
   * @param {(url: string, kept: Kept) => Promise<void>} options.store.put
   * @param {() => number} [options.now]
   * @param {() => number} [options.random]
   */
  constructor({ urls, intervalMs, retryMs, ask, store, now = Date.now, random = Math.random }) {
    Object.assign(this, { intervalMs, retryMs, ask, store, now, random });
    this.federation = new Federation();
    this.hasCatalogOf = "";
    /** @type {List[]} */
    this.lists = [...new Set(urls)].map((url) => ({
      url,
      bornMs: null,
      etag: "",
      askedMs: 0,
      nextMs: 0,
      failures: 0,
      problem: "",
    }));
  }

  /**
   * Sees to it that there are lists, if any can be had.
   * @param {(promise: Promise<void>) => void} background
   */
  async prepare(background) {
    const isUnknown = (list) => list.bornMs === null && list.failures === 0;
    const isDue = (list) => this.now() >= list.nextMs || (isUnknown(list) && this.knowsNothing());
    await Promise.all(this.lists.filter(isDue).map((list) => this.load(list)));
    const isFarTooOld = (list) => list.failures === 0 && this.ageMs(list) > 2 * this.intervalMs;
    const mustWait = (list) => this.knowsNothing() || (list.bornMs !== null && isFarTooOld(list));
    const due = this.lists.filter(isDue);
    const waited = due.filter(mustWait);
    for (const list of due.filter((one) => !waited.includes(one))) {
      background(this.refresh(list));
    }
    await Promise.all(waited.map((list) => this.refresh(list)));
  }

  knowsNothing() {
    return this.lists.every((list) => list.bornMs === null);
  }

  /** Somebody was not where the lists say. @returns {Promise<boolean>} whether anybody was asked */
  async renew() {
    const old = this.lists.filter((list) => this.now() - list.askedMs >= this.retryMs);
    await Promise.all(old.map((list) => this.refresh(list)));
    return old.length > 0;
  }

  /** What the data centre has, if that is newer than what is known here. */
  async load(list) {
    const kept = await this.store.get(list.url);
    if (kept === null || kept.askedMs <= (list.bornMs ?? -1)) {
      return;
    }
    try {
      this.take(list, kept.text);
    } catch {
      return; /* somebody else's script has put it there */
    }
    list.bornMs = kept.askedMs;
    list.etag = kept.etag;
    list.problem = "";
    list.nextMs = kept.askedMs + this.scattered(this.intervalMs);
  }

  /** Asks the coordinator. */
  async refresh(list) {
    const askedMs = this.now();
    list.askedMs = askedMs;
    list.nextMs = askedMs + Math.max(ASKING_MS, this.retryMs);
    try {
      const answer = await this.ask(list.url, list.etag);
      await this.takeAnswer(list, answer, askedMs);
      list.failures = 0;
      list.problem = "";
      list.nextMs = askedMs + this.scattered(this.intervalMs);
    } catch (error) {
      list.failures++;
      list.problem = error.message;
      const delayMs = Math.min(this.retryMs * 2 ** Math.min(list.failures - 1, 20), this.intervalMs);
      list.nextMs = this.now() + this.scattered(Math.max(delayMs, 1));
    }
  }

  async takeAnswer(list, answer, askedMs) {
    const isSame = answer.status === 304 && list.etag !== "";
    if (!isSame && answer.status !== 200) {
      const hint = [401, 403].includes(answer.status) ? "; set the secret FEDERATION_KEY" : "";
      throw new Error(`it answered ${answer.status}${hint}`);
    }
    if (!isSame) {
      this.take(list, answer.text);
      list.etag = answer.etag;
      list.text = answer.text;
    }
    list.bornMs = askedMs;
    if (list.text !== undefined) {
      await this.store.put(list.url, { text: list.text, etag: list.etag, askedMs });
    }
  }

  /** @throws {Error} it is no list: what was known stays */
  take(list, text) {
    const { workers, catalog } = readList(text);
    const isFirst = this.hasCatalogOf === "" || this.hasCatalogOf === list.url;
    if (catalog !== undefined && isFirst) {
      this.federation.catalog = new Catalog(catalog);
      this.hasCatalogOf = list.url;
    } else if (this.hasCatalogOf === list.url) {
      this.federation.catalog = new Catalog([]);
      this.hasCatalogOf = "";
    }
    this.federation.takeList(list.url, workers);
    list.text = text;
  }

  /** A tenth more or less, so that isolates do not ask together. */
  scattered(delayMs) {
    return delayMs * (0.9 + 0.2 * this.random());
  }

  ageMs(list) {
    return list.bornMs === null ? null : Math.max(this.now() - list.bornMs, 0);
  }

  /** How old the oldest list is; null: there is none. */
  oldestMs() {
    const ages = this.lists.map((list) => this.ageMs(list)).filter((age) => age !== null);
    return ages.length === 0 ? null : Math.max(...ages);
  }
}
