/**
 * Sends a request on to one of several places; when one fails, to the next inside the same request, as far as that is
 * safe. Bodies stream both ways.
 *
 * What is safe. The runtime does not tell a connection that was refused from one that broke off after the request had
 * been sent. So only requests that may be repeated anyway (GET, HEAD, OPTIONS, PUT, DELETE, and what the caller says)
 * are tried again after an error. Others are when it is known that nobody has seen them: Cloudflare itself answered
 * that there is no connection (UNREACHABLE), or the answer is one that the caller declines. A body can be sent again
 * if it was short enough to be kept (BODY_KEPT_BYTES).
 */

import { ApiError } from "./errors.js";
import { forwardedHeaders, readBody } from "./http.js";

export const BODY_KEPT_BYTES = 256 * 1024;
const IDEMPOTENT = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"];
/** What Cloudflare answers for an origin that it cannot connect to; 530 is a tunnel that is not there. */
const UNREACHABLE = [521, 522, 523, 525, 526, 530];

/**
 * @typedef {object} Target
 * @property {string} url whole, with path and query
 * @property {Record<string, string>} [headers] of the request, beside its own
 * @property {string[]} [withheld] of its own headers
 *
 * @typedef {"answered" | "declined" | "unreachable" | "failed" | "timeout"} Outcome
 */

/** The body of a request to be relayed: kept, if it is short, else a stream that can be sent once. */
export async function bodyToRelay(request) {
  if (request.body === null) {
    return { data: undefined, isKept: true };
  }
  const bytes = Number(request.headers.get("Content-Length") ?? Number.NaN);
  if (bytes <= BODY_KEPT_BYTES) {
    return { data: await readBody(request, BODY_KEPT_BYTES), isKept: true };
  }
  return { data: request.body, isKept: false };
}

/** What the client understands: the header here is what Cloudflare understands itself. */
function acceptedEncoding(request) {
  return request.cf?.clientAcceptEncoding || "identity";
}

/** One attempt. */
async function send(request, body, target, timeoutMs) {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), timeoutMs);
  const headers = forwardedHeaders(request.headers, target.withheld);
  headers.set("Accept-Encoding", acceptedEncoding(request));
  for (const [name, value] of Object.entries(target.headers ?? {})) {
    headers.set(name, value);
  }
  try {
    const response = await fetch(target.url, {
      method: request.method,
      headers,
      body: body.data,
      redirect: "manual",
      signal: controller.signal,
    });
    const isUnreachable =
      UNREACHABLE.includes(response.status) &&
      response.headers.get("Server") === "cloudflare" &&
      !response.headers.has("X-Served-By");
    return { outcome: isUnreachable ? "unreachable" : "answered", response };
  } catch {
    return { outcome: controller.signal.aborted ? "timeout" : "failed", response: null };
  } finally {
    clearTimeout(timer); /* from the first byte on it may take its time */
  }
}

/** The answer is of no use: nothing of it is read. */
function discard(response) {
  response?.body?.cancel().catch(() => {}); /* the connection is gone already */
}

/**
 * @param {Request} request
 * @param {{data: unknown, isKept: boolean}} body
 * @param {object} options
 * @param {number} options.attemptsMax
 * @param {number} options.timeoutMs until the first byte of an answer
 * @param {boolean} [options.repeatable] whatever the method is
 * @param {() => Target | null} options.next
 * @param {(response: Response) => boolean} [options.declines] whether the next one should be asked; there is one
 * @param {(target: Target, outcome: Outcome) => void} [options.attempted]
 * @returns {Promise<{response: Response | null, outcome: Outcome | "none", target: Target | null}>} no response: nobody
 *   answered; "none": there was nobody to ask
 */
export async function relay(request, body, options) {
  const mayRepeat = isRepeatable(request, options.repeatable);
  let last = { response: null, outcome: "none", target: null };
  for (let attempts = 1; attempts <= options.attemptsMax; attempts++) {
    const target = options.next();
    if (target === null) {
      break;
    }
    const { outcome, response } = await send(request, body, target, options.timeoutMs);
    const canGoOn = attempts < options.attemptsMax && body.isKept;
    const isDeclined = outcome === "answered" && canGoOn && options.declines?.(response) === true;
    options.attempted?.(target, isDeclined ? "declined" : outcome);
    if (outcome === "answered" && !isDeclined) {
      return { response, outcome, target };
    }
    discard(response);
    last = { response: null, outcome, target };
    const isLost = (outcome === "timeout" && !options.repeatable) || (outcome === "failed" && !mayRepeat);
    if (!canGoOn || isLost) {
      break;
    }
  }
  return last;
}

/**
 * What to say when nobody answered.
 * @param {Outcome | "none"} outcome of the last attempt
 * @param {{none: string, failed: string, timeout: string}} codes of errors
 * @param {string} who failed
 * @param {boolean} repeatable it was tried at everybody
 */
export function relayError(outcome, codes, who, repeatable) {
  switch (outcome) {
    case "timeout":
      return new ApiError(
        codes.timeout,
        `${who} did not answer in time (FIRST_BYTE_TIMEOUT_SECONDS); what was asked for may have been done, repeat it ` +
          "only if that does no harm",
      );
    case "failed":
      return repeatable
        ? new ApiError(codes.none, "nobody could be reached; try again in a moment")
        : new ApiError(codes.failed, `${who} failed: the connection broke off`);
    default:
      return new ApiError(codes.none, "nobody could be reached; try again in a moment");
  }
}

/** @param {Request} request @param {boolean} [repeatable] */
export function isRepeatable(request, repeatable = false) {
  return repeatable || IDEMPOTENT.includes(request.method);
}
