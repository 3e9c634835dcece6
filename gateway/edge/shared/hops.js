/**
 * Loops of gateways. Each one that passes a request on adds its name to X-Muster-Hops; one that finds its own name
 * there, or more than HOPS_MAX others, refuses. As gateway/front_forward.c does.
 */

import { ApiError } from "./errors.js";
import { splitList } from "./http.js";

export const HOPS_HEADER = "X-Muster-Hops";
const HOPS_MAX = 8;

/** @param {number} bytes */
export function randomHex(bytes) {
  const random = crypto.getRandomValues(new Uint8Array(bytes));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A name for X-Muster-Hops. */
export const newInstance = () => randomHex(8);

/**
 * @param {string} text X-Muster-Hops
 * @param {string} instance our name
 * @param {string} advice what leads back here, and what to do
 * @returns {string} the header for who is asked next
 * @throws {ApiError} the request has been here, or at too many
 */
export function addHop(text, instance, advice) {
  const hops = splitList(text);
  if (hops.length > HOPS_MAX || hops.includes(instance)) {
    throw new ApiError(
      "loop_detected",
      `this request has come through here before, or through more than ${HOPS_MAX} gateways: ${advice}`,
    );
  }
  return [...hops, instance].join(", ");
}
