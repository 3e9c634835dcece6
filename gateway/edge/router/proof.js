/**
 * Proof that a coordinator is at the URL that it registers (gateway/proof.h): who registers announces a key; who is
 * asked at that URL answers a nonce with its HMAC-SHA256 by this key, in hexadecimal.
 */

import { sameDigest } from "../shared/keys.js";

const encoder = new TextEncoder();

/** @returns {Promise<string>} */
export async function makeProof(key, nonce) {
  const imported = await crypto.subtle.importKey("raw", encoder.encode(key), { name: "HMAC", hash: "SHA-256" }, false, [
    "sign",
  ]);
  const digest = new Uint8Array(await crypto.subtle.sign("HMAC", imported, encoder.encode(nonce)));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * What an answer to a challenge is worth.
 * @param {{status: number, text: string}} answer status 0: none came
 * @param {{key: string | undefined, nonce: string, isRequired: boolean}} wanted key: that was announced
 * @returns {Promise<"" | "another" | "silent" | "unproved">} "": the registration is taken
 */
export async function judgeProof(answer, { key, nonce, isRequired }) {
  let proof;
  if (answer.status === 200) {
    try {
      proof = JSON.parse(answer.text)?.proof;
    } catch {
      proof = undefined; /* it knows nothing of proofs */
    }
  }
  const hasAnswered = typeof proof === "string";
  if (hasAnswered && key !== undefined && sameDigest(await makeProof(key, nonce), proof)) {
    return "";
  }
  if (hasAnswered && proof !== "") {
    return "another";
  }
  if (key === undefined && !isRequired) {
    return "";
  }
  return answer.status === 0 ? "silent" : "unproved";
}
