/**
 * Errors as the contract has them: {"error": CODE, "message": TEXT, "detail": TEXT}. The codes and what they mean are
 * those of gateway/error.c.
 */

/** Status, and seconds for Retry-After (0: none), by code. */
const KINDS = new Map(
  Object.entries({
    malformed_json: [400, 0],
    invalid_field: [422, 0],
    invalid_path: [400, 0],
    not_found: [404, 0],
    method_not_allowed: [405, 0],
    unknown_worker: [404, 0],
    stale_incarnation: [409, 0],
    no_worker: [503, 5],
    worker_failed: [502, 0],
    worker_timeout: [504, 0],
    unavailable: [503, 2],
    not_ready: [503, 1],
    too_many_requests: [429, 1],
    body_too_large: [413, 0],
    unauthorized: [401, 0],
    forbidden: [403, 0],
    no_coordinators: [503, 5],
    coordinator_failed: [502, 0],
    coordinator_timeout: [504, 0],
    loop_detected: [508, 0],
    challenge_failed: [403, 0],
    forbidden_url: [403, 0],
    forbidden_peer: [403, 0],
    internal_error: [500, 0],
  }),
);

/** A refusal: thrown, and answered by whoever has the request. */
export class ApiError extends Error {
  /**
   * @param {string} code one of KINDS
   * @param {string} message what to do
   * @param {Record<string, string>} [headers] that go with the answer
   */
  constructor(code, message, headers = {}) {
    super(message);
    this.code = KINDS.has(code) ? code : "internal_error";
    this.headers = headers;
  }

  get status() {
    return KINDS.get(this.code)[0];
  }

  /** @returns {Response} */
  response() {
    const [status, retryAfterSeconds] = KINDS.get(this.code);
    const headers = new Headers({ "Content-Type": "application/json", ...this.headers });
    if (retryAfterSeconds > 0) {
      headers.set("Retry-After", String(retryAfterSeconds));
    }
    const body = { error: this.code, message: this.message, detail: this.message };
    return new Response(JSON.stringify(body), { status, headers });
  }
}
