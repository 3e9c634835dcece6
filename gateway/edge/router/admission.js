/**
 * Who may register: before a coordinator is put on the roll, its URL is asked for a proof (proof.js) that the registrant
 * is there. Else anybody could send the world's requests to somebody else's machine.
 */

import { ApiError } from "../shared/errors.js";
import { readStream } from "../shared/http.js";
import { HOPS_HEADER, randomHex } from "../shared/hops.js";
import { leadsInside, parseOrigin } from "../shared/origin.js";
import { judgeProof } from "./proof.js";

const CHALLENGE_TIMEOUT_MS = 5000;
const CHALLENGE_BYTES_MAX = 65536;

/** @param {string} url that has been checked @throws {ApiError} it leads to a private address */
export function refusePrivate(url) {
  if (leadsInside(parseOrigin(url))) {
    const message = `${url} leads to a private address, which this edge router does not call; register a public URL`;
    throw new ApiError("forbidden_url", message);
  }
}

async function askForProof(url, nonce, instance) {
  try {
    const signal = AbortSignal.timeout(CHALLENGE_TIMEOUT_MS);
    const headers = { [HOPS_HEADER]: instance };
    const response = await fetch(`${url}/api/edge/challenge?nonce=${nonce}`, { headers, redirect: "manual", signal });
    const body = await readStream(response.body, CHALLENGE_BYTES_MAX);
    return { status: response.status, text: body === null ? "" : new TextDecoder().decode(body), problem: "" };
  } catch (error) {
    return { status: 0, text: "", problem: error.message };
  }
}

/**
 * Asks at the URL whether the registrant is there.
 * @param {string} url
 * @param {string | undefined} key that was announced
 * @param {{instance: string, isRequired: boolean}} options isRequired: also of who announces no key
 * @throws {ApiError}
 */
export async function challenge(url, key, { instance, isRequired }) {
  const nonce = randomHex(16);
  const answer = await askForProof(url, nonce, instance);
  const verdict = await judgeProof(answer, { key, nonce, isRequired });
  const messages = {
    another: `the coordinator at ${url} is not the one that registers it: it must register itself, with --join`,
    silent: `${url} cannot be asked whether it is yours: ${answer.problem}; make it reachable`,
    unproved:
      `${url} does not prove that it is yours (it answered ${answer.status}); have the coordinator there join by ` +
      "itself, or set the variable COORDINATOR_PROOF to optional",
  };
  if (verdict !== "") {
    throw new ApiError("challenge_failed", messages[verdict]);
  }
}
