/** What both scripts do with requests and answers. */

import { ApiError } from "./errors.js";
import { corsHeaders } from "./cors.js";
import { segment, word } from "./fields.js";

const NAME_BYTES_MAX = 256;

/**
 * Of one hop only (RFC 9110 section 7.6.1), and what the runtime writes itself. Expect as well: the runtime would take
 * a "100 Continue" for the answer.
 */
const HOP_BY_HOP = [
  "connection",
  "expect",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "host",
  "content-length",
];

/** @param {unknown} value @param {number} [status] @param {Record<string, string>} [headers] */
export function jsonResponse(value, status = 200, headers = {}) {
  const all = { "Content-Type": "application/json", ...headers };
  return new Response(JSON.stringify(value), { status, headers: all });
}

/**
 * Reads a stream that may be longer than is good.
 * @param {ReadableStream | null} stream
 * @param {number} limitBytes
 * @param {number} [passedBytes] that are read on, and thrown away, when it is longer
 * @returns {Promise<Uint8Array | null>} null: it is longer
 */
export async function readStream(stream, limitBytes, passedBytes = 0) {
  const chunks = [];
  let bytes = 0;
  if (stream === null) {
    return new Uint8Array(0);
  }
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) {
      break;
    }
    bytes += value.length;
    if (bytes > limitBytes + passedBytes) {
      await reader.cancel().catch(() => {}); /* it has been refused already */
      return null;
    }
    if (bytes <= limitBytes) {
      chunks.push(value);
    }
  }
  if (bytes > limitBytes) {
    return null;
  }
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

/**
 * A client that is still sending when it is answered may not see the answer: so much of its body is waited for, if it
 * has not said how long it is.
 */
const PASSED_BYTES = 32 << 20;

/** The body of a request, whole. @throws {ApiError} */
export async function readBody(request, limitBytes) {
  const isTooLong = Number(request.headers.get("Content-Length")) > limitBytes;
  const body = isTooLong ? null : await readStream(request.body, limitBytes, PASSED_BYTES);
  if (body === null) {
    throw new ApiError("body_too_large", `the body is longer than ${limitBytes} bytes`);
  }
  return body;
}

/** @param {Uint8Array} body @returns {unknown} @throws {ApiError} */
export function parseJson(body) {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body));
  } catch (error) {
    throw new ApiError("malformed_json", `the body is not JSON: ${error.message}`);
  }
}

/** The client's id of the request, if it is a sane one, else a new one. */
export function requestId(headers) {
  const given = headers.get("X-Request-Id") ?? "";
  return /^[\x21-\x7e]{1,128}$/.test(given) ? given : crypto.randomUUID();
}

/** @param {string} text an id @returns {string} as a header may have it */
export function headerText(text) {
  return Array.from(new TextEncoder().encode(text), (byte) =>
    byte > 0x20 && byte < 0x7f && byte !== 0x25
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`,
  ).join("");
}

/**
 * The headers of a request as they go on.
 * @param {Headers} headers
 * @param {string[]} withheld what is nobody's business there
 */
export function forwardedHeaders(headers, withheld = []) {
  const result = new Headers(headers);
  const isUpgrade = (headers.get("Upgrade") ?? "").toLowerCase() === "websocket";
  const named = (headers.get("Connection") ?? "").split(",").map((name) => name.trim().toLowerCase());
  for (const name of [...HOP_BY_HOP, ...named, ...withheld]) {
    if (/^[a-z0-9-]+$/i.test(name) && !(isUpgrade && name === "upgrade")) {
      result.delete(name);
    }
  }
  return result;
}

/** A name in a path, as it is meant. @throws {ApiError} */
export function decodeSegment(text) {
  let decoded;
  try {
    decoded = decodeURIComponent(text);
  } catch {
    throw new ApiError("invalid_path", "the path is not well encoded");
  }
  const fault = segment(NAME_BYTES_MAX)(decoded);
  if (fault !== "") {
    throw new ApiError("invalid_path", `in the path, the name ${fault}`);
  }
  return decoded;
}

/**
 * A parameter of the query.
 * @returns {string | null} null: it is not there
 * @throws {ApiError} it is not well encoded
 */
export function queryParameter(url, name) {
  const pair = url.search
    .slice(1)
    .split("&")
    .find((one) => one === name || one.startsWith(`${name}=`));
  if (pair === undefined) {
    return null;
  }
  try {
    return decodeURIComponent(pair.slice(name.length + 1).replaceAll("+", " "));
  } catch {
    throw new ApiError("invalid_field", `field ${name} must be UTF-8, in the query`);
  }
}

const SCOPES = word(["local", "all"]);

/** Whether GET /api/services/discover asks for what the hash table has as well. @throws {ApiError} */
export function asksEverywhere(url) {
  const scope = queryParameter(url, "scope");
  const fault = scope === null ? "" : SCOPES(scope);
  if (fault !== "") {
    throw new ApiError("invalid_field", `field scope ${fault}, in the query`);
  }
  return scope === "all";
}

/** What every answer carries. */
export function finishResponse(response, { request, id, cors, extra = [] }) {
  const headers = new Headers(response.headers);
  for (const name of [...headers.keys()]) {
    if (name.startsWith("access-control-")) {
      headers.delete(name);
    }
  }
  headers.set("X-Request-Id", id);
  for (const [name, value] of [...corsHeaders(cors, request.headers.get("Origin"), false), ...extra]) {
    name === "Vary" ? headers.append(name, value) : headers.set(name, value);
  }
  if (response.webSocket) {
    return new Response(null, { status: 101, webSocket: response.webSocket, headers });
  }
  const isEmpty = request.method === "HEAD" || [204, 205, 304].includes(response.status);
  return new Response(isEmpty ? null : response.body, {
    status: response.status,
    statusText: response.statusText,
    headers,
  });
}

/** A preflight, or null: it is none. */
export function preflight(request, cors) {
  const isPreflight = request.method === "OPTIONS" && request.headers.has("Access-Control-Request-Method");
  if (!isPreflight) {
    return null;
  }
  return new Response(null, { status: 204, headers: corsHeaders(cors, request.headers.get("Origin"), true) });
}

/** Only these methods. @throws {ApiError} */
export function allowMethods(request, methods) {
  if (!methods.includes(request.method)) {
    throw new ApiError("method_not_allowed", `use ${methods.join(" or ")}`, { Allow: methods.join(", ") });
  }
}

/** @param {string} list of URLs, separated by commas */
export function splitList(list) {
  return list.split(/[\s,]+/).filter((item) => item !== "");
}
