/**
 * The registry of the edge router: one Durable Object that knows the coordinators (roll.js, kept by storage.js), their
 * workers (regions.js) and the other edge routers (news.js). worker.js calls its methods; each returns {value}, or
 * {refused: {code, message}} of an ApiError, since errors lose what they are on the way.
 *
 * It is one thread. Between two awaits nothing else happens; after each await the roll may be another one.
 */

import { DurableObject } from "cloudflare:workers";

import { Catalog } from "../shared/catalog.js";
import { ApiError } from "../shared/errors.js";
import { addHop, newInstance, randomHex } from "../shared/hops.js";
import { readStream } from "../shared/http.js";
import { sameSecret, sha256 } from "../shared/keys.js";
import { leadsInside, parseOrigin } from "../shared/origin.js";
import { readList } from "../shared/worker_list.js";
import * as views from "../shared/views.js";
import { challenge, refusePrivate } from "./admission.js";
import { coordinatorOf } from "./bodies.js";
import { Candidates } from "./candidates.js";
import { Lists } from "./lists.js";
import { News } from "./news.js";
import { noteAnswer, noteFailure } from "./pool.js";
import { Regions, placeOf } from "./regions.js";
import { Roll } from "./roll.js";
import { readSettings } from "./settings.js";
import { Storage } from "./storage.js";

const COORDINATORS_MAX = 1000;
const PEER_TIMEOUT_MS = 5000;
const GRACE_MS = 60000;
/** A worker that nobody was known to hold a moment ago is not looked for again. */
const LOOKED_LATELY_MS = 1000;
const CATALOG_MS = 300000;
const CATALOG_BYTES_MAX = 16 << 20;

const NOBODY = "no coordinator is alive; start one with musterctl up --join, or try again";

/** Runs what may refuse. */
async function answering(run) {
  try {
    return { value: await run() };
  } catch (error) {
    if (error instanceof ApiError) {
      return { refused: { code: error.code, message: error.message } };
    }
    throw error;
  }
}

export class Registry extends DurableObject {
  constructor(context, env) {
    super(context, env);
    this.settings = readSettings(env);
    const { timeoutMs, lateMs, regionIntervalMs, regionTimeoutMs, regionSilenceMs, federationKey } = this.settings;
    this.instance = newInstance();
    this.roll = new Roll({ timeoutMs, lateMs, graceMs: Math.min(GRACE_MS, timeoutMs) });
    this.regions = new Regions({
      instance: this.instance,
      key: federationKey,
      intervalMs: regionIntervalMs,
      timeoutMs: regionTimeoutMs,
      silenceMs: regionSilenceMs,
    });
    this.candidates = new Candidates(this.roll, this.regions);
    this.lists = new Lists(this.roll, this.regions);
    this.news = new News();
    this.toldMs = 0;
    this.catalogMs = 0;
    this.storage = new Storage(context.storage.sql);
    for (const row of this.roll.restore(this.storage.load(), Date.now())) {
      this.storage.put(row);
    }
    for (const { kept } of this.roll.entries.values()) {
      this.regions.put(kept, false);
    }
    context.blockConcurrencyWhile(() => this.schedule());
  }

  /* --- Time --- */

  /** Wakes this object when the next coordinator has been silent for too long, unless it is heard by then. */
  async schedule() {
    const nextMs = this.roll.nextExpiryMs();
    const setMs = await this.ctx.storage.getAlarm();
    if (nextMs !== null && (setMs === null || setMs > nextMs)) {
      await this.ctx.storage.setAlarm(nextMs);
    }
  }

  async alarm() {
    this.expire();
    await this.schedule();
  }

  /** Before everything else: who is silent for too long is off the roll. */
  expire() {
    for (const id of this.roll.expire(Date.now())) {
      console.warn(`coordinator ${id} has been silent for too long; it is off the roll`);
      this.forget(id);
    }
    this.news.forget((id) => this.roll.entries.has(id), Date.now());
  }

  forget(id) {
    this.storage.remove(id);
    this.regions.remove(id);
  }

  keep(row) {
    if (row !== null) {
      this.storage.put(row);
    }
  }

  /* --- Coordinators come, are heard, and go --- */

  /**
   * @param {object} body that has been checked
   * @param {object} cf where it calls from, as Cloudflare says
   */
  register(body, cf) {
    return answering(async () => {
      this.expire();
      const who = coordinatorOf(body);
      who.id ||= `edge-${randomHex(4)}`;
      if (!this.settings.allowsPrivate) {
        refusePrivate(who.url);
      }
      const { isProofRequired: isRequired } = this.settings;
      await challenge(who.url, body.proof_key ?? undefined, { instance: this.instance, isRequired });
      if (this.roll.entries.size >= COORDINATORS_MAX && !this.roll.entries.has(who.id)) {
        throw new ApiError("too_many_requests", `there are ${COORDINATORS_MAX} coordinators already`);
      }
      const incarnation = this.putOnRoll(who, cf);
      this.news.hear(who.id, Date.now());
      this.tell();
      await this.schedule();
      console.log(`coordinator ${who.id} registered at ${who.url}`);
      return this.registered(who, incarnation);
    });
  }

  putOnRoll(who, cf) {
    const row = this.roll.register(who, Date.now());
    this.keep(row);
    const region = this.regions.put(row, true);
    this.placeByCaller(region, cf);
    this.regions.read(region);
    return row.incarnation;
  }

  /** As any registration is answered: agents of type edge look for this. */
  registered(who, incarnation) {
    const names = ["coordinator", "edge-proxy", ...(this.roll.entries.size > 1 ? ["load-balancer"] : [])];
    const services = names
      .map((name) => this.regions.federation.catalog.services.get(name))
      .filter((service) => service !== undefined);
    return {
      status: "registered",
      role: "edge_coordinator",
      worker_id: who.id,
      worker_type: "edge",
      tier: 4,
      assigned_services: services.map(({ name }) => name),
      service_configs: services.map(({ name, port, priority }) => ({ name, port, priority })),
      total_coordinators: this.roll.entries.size,
      heartbeat_interval: Math.max(Math.floor(this.settings.heartbeatMs / 1000), 1),
      incarnation,
      message: "Coordinator registered",
    };
  }

  /** Where a coordinator is that does not say it: where it calls from. Behind a tunnel that is its home. */
  placeByCaller(region, cf) {
    if (region !== undefined && !region.placeIsOwn) {
      region.place = placeOf(cf) ?? region.place;
    }
  }

  /** @param {object} body that has been checked */
  heartbeat(body, cf) {
    return answering(() => {
      this.expire();
      this.hear(body, cf);
      const { kept } = this.roll.get(body.worker_id);
      const region = this.regions.regions.get(kept.id);
      const others = this.known({ closest: true, location: kept.location, place: region.place });
      return { status: "ok", coordinators: others.filter(({ worker_id }) => worker_id !== kept.id) };
    });
  }

  /** @param {object} wish of pool.js */
  known(wish) {
    return this.candidates
      .choices(wish, null)
      .map(({ id, url }) => ({ worker_id: id, url, location: this.roll.get(id).kept.location }));
  }

  /** The coordinators for a worker that is there: it registers with them by itself. */
  nearest(location, cf) {
    return answering(() => {
      this.expire();
      this.regions.refresh();
      const coordinators = this.known(this.wishOf({ location, cf }));
      if (coordinators.length === 0) {
        throw new ApiError("no_coordinators", NOBODY);
      }
      return { coordinators };
    });
  }

  hear(said, cf) {
    const now = Date.now();
    this.keep(this.roll.hear(said, now));
    const region = this.regions.regions.get(said.worker_id);
    this.placeByCaller(region, cf);
    /* Heard again: whether it can be reached again as well is found out at once. */
    if (region.reading === null && (region.standing.out || this.regions.isStale(region))) {
      this.regions.read(region);
    }
    this.news.hear(said.worker_id, now);
    if (now - this.toldMs >= this.settings.peerIntervalMs) {
      this.tell();
    }
  }

  unregister(id) {
    return answering(() => {
      this.expire();
      this.roll.remove(id);
      this.forget(id);
      this.news.leave(id, Date.now());
      this.tell();
      return { status: "ok", message: "Coordinator unregistered" };
    });
  }

  /* --- Edge routers side by side --- */

  tell() {
    this.toldMs = Date.now();
    const coordinators = this.news.told((id) => this.roll.entries.get(id)?.kept, this.toldMs);
    const headers = { "Content-Type": "application/json", "X-Muster-Hops": this.instance };
    if (this.settings.federationKey !== "") {
      headers["X-API-Key"] = this.settings.federationKey;
    }
    const body = JSON.stringify({ from: this.instance, coordinators });
    for (const peer of this.settings.peers) {
      const signal = AbortSignal.timeout(PEER_TIMEOUT_MS);
      fetch(`${peer.replace(/\/+$/, "")}/api/edge/peers`, { method: "POST", headers, body, redirect: "manual", signal })
        .then(async (response) => {
          await response.body?.cancel();
          if (response.status !== 200) {
            throw new Error(`it answered ${response.status}`);
          }
        })
        .catch((error) => console.warn(`edge router ${peer} does not take the news: ${error.message}`));
    }
  }

  /**
   * @param {object} body that has been checked
   * @param {string} key that the message came with
   */
  peers(body, key) {
    return answering(async () => {
      this.expire();
      const { peers, federationKey, allowsPrivate } = this.settings;
      if (peers.length === 0) {
        throw new ApiError("forbidden_peer", "this edge router has no peers; set the variable PEER, yours among them");
      }
      const isAllowed = federationKey === "" ? allowsPrivate : await sameSecret(key, federationKey);
      if (!isAllowed) {
        throw new ApiError("forbidden_peer", "news is taken from who has the same FEDERATION_KEY; set it at both");
      }
      const isOwn = body.from === this.instance;
      const taken = isOwn ? 0 : body.coordinators.filter((item) => this.takeNews(item)).length;
      await this.schedule();
      return { status: "ok", taken };
    });
  }

  takeNews(item) {
    const who = coordinatorOf(item);
    const isInside = who.url !== "" && !this.settings.allowsPrivate && leadsInside(parseOrigin(who.url));
    const news = isInside ? "" : this.news.take(item, this.settings.timeoutMs, Date.now());
    const entry = this.roll.entries.get(who.id);
    if (news === "gone" && entry !== undefined) {
      this.roll.remove(who.id);
      this.forget(who.id);
      return true;
    }
    if (news === "" || news === "gone") {
      return false;
    }
    const isKnown = entry?.kept.url === who.url && entry.kept.location === who.location;
    if (news === "heard" && isKnown) {
      this.keep(this.roll.touch(entry, Date.now()));
    } else if (entry !== undefined || this.roll.entries.size < COORDINATORS_MAX) {
      this.putOnRoll(who, {});
    }
    return true;
  }

  /* --- Whom a request goes to --- */

  /**
   * @param {object} asked
   * @param {string} asked.operation
   * @param {string | null} asked.name of the worker or service that it is about
   * @param {string} asked.hops X-Muster-Hops
   * @param {object} asked.cf
   * @param {string} [asked.location] that a worker says it is at
   * @param {boolean} asked.maySpeak for a coordinator: who calls has a key, or none is needed
   * @param {object} [asked.said] the body of a worker's heartbeat
   */
  choose(asked) {
    return answering(async () => {
      this.expire();
      const hops = this.hopped(asked.hops);
      const chosen = await this.chosen(asked);
      this.regions.refresh();
      return { ...chosen, hops };
    });
  }

  /** Where a request has been, and this edge router. @throws {ApiError} it has been here, or at too many */
  hopped(text) {
    return addHop(
      text,
      this.instance,
      "an edge router is registered as a coordinator at another one; take it off with " +
        "DELETE /api/edge/unregister/ID",
    );
  }

  chosen(asked) {
    switch (asked.operation) {
      case "heartbeat":
      case "unregister":
      case "drain":
      case "undrain":
      case "explain":
      case "history":
        return this.chooseHolder(asked);
      case "relay_service":
      case "relay_raw":
      case "find":
        return { ...this.chooseAny({ offers: true }, asked.name), repeatable: this.isRepeatable(asked.name) };
      case "register":
        return this.chooseAny(this.wishOf(asked), null);
      default:
        return this.chooseAny({ closest: true }, null);
    }
  }

  /** @param {string} name of a service, or alias */
  isRepeatable(name) {
    const { catalog } = this.regions.federation;
    return catalog.isRepeatable(catalog.nameOf(name));
  }

  /** A worker that does not say where it is is where it calls from. */
  wishOf({ location, cf }) {
    const here = location ? { location } : { location: cf.country ?? "", continent: cf.continent ?? "" };
    return { closest: true, ...here, place: placeOf(cf) };
  }

  chooseAny(wish, service) {
    const choices = this.candidates.choices(wish, service);
    if (choices.length === 0) {
      throw new ApiError("no_coordinators", NOBODY);
    }
    return { choices };
  }

  async chooseHolder(asked) {
    const own = asked.maySpeak ? this.answerForCoordinator(asked) : null;
    if (own !== null) {
      return { own };
    }
    const held = () => this.roll.entries.get(this.regions.federation.holderOf(asked.name) ?? "")?.kept;
    if (held() === undefined && this.candidates.inPool().length === 0) {
      throw new ApiError("no_coordinators", NOBODY);
    }
    if (held() === undefined && Date.now() - this.regions.readAllMs > LOOKED_LATELY_MS) {
      await this.regions.readAll();
    }
    const holder = held();
    if (holder === undefined) {
      throw new ApiError("unknown_worker", `no coordinator holds a worker ${asked.name}; register again`);
    }
    return { choices: [{ id: holder.id, url: holder.url }] };
  }

  /** What is about a coordinator is known here itself. @returns {object | null} null: it is about none */
  answerForCoordinator({ operation, name, said, cf }) {
    const entry = this.roll.entries.get(name);
    if (entry === undefined) {
      return null;
    }
    switch (operation) {
      case "heartbeat":
        this.hear({ worker_id: name, ...loadOf(said) }, cf);
        return { status: "ok" };
      case "unregister":
        this.roll.remove(name);
        this.forget(name);
        this.news.leave(name, Date.now());
        this.tell();
        return { status: "ok", message: "Coordinator unregistered" };
      case "drain":
      case "undrain":
        entry.kept.draining = operation === "drain";
        this.keep(entry.kept);
        return { status: "ok", worker_id: name, draining: entry.kept.draining };
      default:
        return null;
    }
  }

  /**
   * What became of a forwarded request.
   * @param {{id: string, failed?: boolean, operation?: string, name?: string | null}} told operation: that has
   *   changed the coordinator's roll
   */
  report({ id, failed = false, operation = "", name = null }) {
    const region = this.regions.regions.get(id);
    if (region === undefined) {
      return;
    }
    if (failed) {
      if (noteFailure(region.standing, Date.now())) {
        console.warn(`coordinator ${id} failed a request; it is out of the pool until it can be read again`);
        this.regions.read(region);
      }
      return;
    }
    if (!region.standing.out) {
      noteAnswer(region.standing, 0, Date.now());
    }
    region.isDirty = true;
    if (operation === "register" && name !== null) {
      this.regions.federation.hold(name, id, Date.now());
    } else if (operation === "unregister" && name !== null) {
      this.regions.federation.release(name);
    }
  }

  /* --- Lists --- */

  /** GET /health */
  health() {
    this.expire();
    return {
      status: "healthy",
      coordinator: this.instance,
      coordinators: this.candidates.inPool().length,
      workers: views.healthCounts(this.regions.federation),
      message: "Edge router operational",
      timestamp: new Date().toISOString(),
    };
  }

  /** For a job that goes to all. @param {string} hops X-Muster-Hops */
  pool(hops) {
    return answering(() => {
      this.expire();
      const coordinators = this.candidates.inPool().map(({ entry }) => ({ id: entry.kept.id, url: entry.kept.url }));
      return { coordinators, hops: this.hopped(hops) };
    });
  }

  /** GET /api/admin/coordinators */
  coordinators() {
    this.expire();
    this.regions.refresh();
    return this.lists.coordinators();
  }

  /**
   * @param {string} name of the operation
   * @param {{service?: string, hops: string}} asked hops: another edge router asks, which must not wait for us while
   *   we wait for it
   * @returns {Promise<{text: string, tag: string} | null>} null: nobody offers the service
   */
  async view(name, { service = "", hops }) {
    this.expire();
    if (hops === "") {
      await Promise.all([this.regions.readForView(), this.refreshCatalog()]);
    } else if (!hops.includes(this.instance)) {
      this.regions.refresh();
    }
    const body = this.lists.render(name, service);
    if (body === null) {
      return null;
    }
    /* Ages and dates alone make no other list. */
    const { timestamp, as_of, revision, ...rest } = body;
    const regions = rest.regions?.map(({ as_of: _, ...region }) => region);
    const workers = rest.workers?.map((worker) => ({ ...worker, age_seconds: 0 }));
    const tag = await sha256(JSON.stringify({ ...rest, regions, workers }));
    return { text: JSON.stringify(body), tag: `W/"${tag.slice(0, 32)}"` };
  }

  /** The services' names and what they take, as a coordinator has them; API.md's until one has said it. */
  async refreshCatalog() {
    const known = this.candidates.inPool().find(({ region }) => region.isRead);
    if (known === undefined || Date.now() - this.catalogMs < CATALOG_MS) {
      return;
    }
    this.catalogMs = Date.now();
    try {
      const key = this.settings.federationKey;
      const headers = { "X-Muster-Hops": this.instance, ...(key === "" ? {} : { "X-API-Key": key }) };
      const signal = AbortSignal.timeout(this.settings.regionSilenceMs);
      const response = await fetch(`${known.entry.kept.url}/api/coordinator/workers`, {
        headers,
        redirect: "manual",
        signal,
      });
      const body = await readStream(response.body, CATALOG_BYTES_MAX);
      const { catalog } = readList(new TextDecoder().decode(body ?? new Uint8Array(0)));
      if (response.status === 200 && Array.isArray(catalog) && catalog.length > 0) {
        this.regions.federation.catalog = new Catalog(catalog);
      }
    } catch (error) {
      console.warn(`the catalog of ${known.entry.kept.id} cannot be read: ${error.message}`);
    }
  }
}

/** What of a worker's heartbeat a coordinator's has as well; of a body that anybody may have sent. */
function loadOf(said = {}) {
  const isWhole = (value) => Number.isSafeInteger(value) && value >= 0;
  return {
    ...(isWhole(said.incarnation) ? { incarnation: said.incarnation } : {}),
    ...(["degraded", "draining"].includes(said.status) ? { status: said.status } : {}),
    ...(typeof said.current_load === "number" ? { load: said.current_load } : {}),
    ...(isWhole(said.queue_depth) ? { queue_depth: said.queue_depth } : {}),
  };
}
