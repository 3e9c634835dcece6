/**
 * What edge routers side by side tell each other (gateway/edge_peers.h): each tells the others whom it has heard
 * itself, and how long ago; what it knows from others it does not pass on. Ages are by the sender's clock alone.
 *
 * No I/O; time is an argument.
 */

/** In one message. */
const NEWS_MAX = 1000;
/** Who has gone is remembered for so long: older news of it may be on its way. */
const GONE_KEPT_MS = 120000;

export class News {
  constructor() {
    /** @type {Map<string, {hereMs: number, thereMs: number, goneMs: number, goneHere: boolean}>} 0: never */
    this.heard = new Map();
  }

  remember(id) {
    if (!this.heard.has(id)) {
      this.heard.set(id, { hereMs: 0, thereMs: 0, goneMs: 0, goneHere: false });
    }
    return this.heard.get(id);
  }

  /** A coordinator was heard here. */
  hear(id, nowMs) {
    const heard = this.remember(id);
    heard.hereMs = nowMs;
    heard.goneMs = 0;
  }

  /** It said goodbye here. */
  leave(id, nowMs) {
    const heard = this.remember(id);
    heard.goneMs = nowMs;
    heard.goneHere = true;
  }

  /** @param {(id: string) => boolean} isOnRoll */
  forget(isOnRoll, nowMs) {
    for (const [id, heard] of this.heard) {
      if (!isOnRoll(id) && nowMs - Math.max(heard.hereMs, heard.thereMs, heard.goneMs) > GONE_KEPT_MS) {
        this.heard.delete(id);
      }
    }
  }

  /**
   * What is told.
   * @param {(id: string) => {url: string, location: string, capabilities: object} | undefined} find on the roll
   */
  told(find, nowMs) {
    const items = [];
    for (const [id, heard] of this.heard) {
      const who = find(id);
      if (heard.goneMs > 0 && heard.goneHere) {
        items.push({ worker_id: id, age_ms: nowMs - heard.goneMs, gone: true });
      } else if (heard.goneMs === 0 && heard.hereMs > 0 && who !== undefined) {
        const { url, location, capabilities } = who;
        items.push({ worker_id: id, age_ms: nowMs - heard.hereMs, gone: false, url, location, capabilities });
      }
    }
    return items.slice(0, NEWS_MAX);
  }

  /**
   * What another one told of one coordinator.
   * @param {object} item of its message
   * @param {number} limitMs news that are as old as that are none
   * @returns {"" | "gone" | "heard" | "back"} "": no news; back: it had gone, and registers anew
   */
  take(item, limitMs, nowMs) {
    const heard = this.remember(item.worker_id);
    const atMs = nowMs - item.age_ms;
    if (item.age_ms >= limitMs || atMs <= Math.max(heard.hereMs, heard.thereMs, heard.goneMs)) {
      return "";
    }
    if (item.gone) {
      heard.goneMs = atMs;
      heard.goneHere = false;
      return "gone";
    }
    if ((item.tunnel_url ?? item.url ?? "") === "") {
      return "";
    }
    const wasGone = heard.goneMs > 0;
    heard.thereMs = atMs;
    heard.goneMs = 0;
    return wasGone ? "back" : "heard";
  }
}
