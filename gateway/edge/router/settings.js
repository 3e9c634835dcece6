/** The variables and secrets of the edge router; their names are those of muster-gateway's flags. */

import { splitList } from "../shared/http.js";
import { flagOf, secondsOf, textOf } from "../shared/settings.js";

/** @throws {Error} that says which one is wrong */
export function readSettings(env) {
  const proof = textOf(env, "COORDINATOR_PROOF", "required") || "required";
  if (!["required", "optional"].includes(proof)) {
    throw new Error("the variable COORDINATOR_PROOF must be required or optional");
  }
  return {
    /* A coordinator that is silent: late, then off the roll. */
    lateMs: secondsOf(env, "HEARTBEAT_TIMEOUT_SECONDS", 90),
    timeoutMs: secondsOf(env, "WORKER_TIMEOUT_SECONDS", 300),
    heartbeatMs: secondsOf(env, "HEARTBEAT_INTERVAL_SECONDS", 30),
    /* Its list of workers. */
    regionIntervalMs: secondsOf(env, "REGION_INTERVAL_SECONDS", 5),
    regionTimeoutMs: secondsOf(env, "REGION_TIMEOUT_SECONDS", 10),
    regionSilenceMs: secondsOf(env, "REGION_SILENCE_SECONDS", 4),
    /* Requests that are forwarded. */
    firstByteMs: secondsOf(env, "FIRST_BYTE_TIMEOUT_SECONDS", 60),
    /* Others of our kind. */
    peers: splitList(textOf(env, "PEER")),
    peerIntervalMs: secondsOf(env, "PEER_INTERVAL_SECONDS", 10),
    federationKey: textOf(env, "FEDERATION_KEY"),
    /* Whom to believe. */
    isProofRequired: proof === "required",
    allowsPrivate: flagOf(env, "ALLOW_PRIVATE_URLS"),
  };
}
