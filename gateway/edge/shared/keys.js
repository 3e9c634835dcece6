/**
 * Who may ask for what. Two secrets of the script:
 *
 *   API_KEY    one key with which everything may be done
 *   API_KEYS   the text of a key file as coordinators take it (common/auth/keys.h), of which `keys` is understood:
 *              name, key or key_sha256, rights, services. A file with other restrictions is refused, since one that
 *              is not understood would be none.
 *
 * With neither everybody may do everything. A key comes as X-API-Key, or else as Authorization: Bearer. Only digests
 * are kept, and compared in constant time.
 */

import { ApiError } from "./errors.js";

const RIGHTS = ["worker", "client", "admin"];
const KNOWN_MEMBERS = new Set(["name", "key", "key_sha256", "rights", "services"]);
const WORKER_TOKEN = /^mw1\./;
const KEY_BYTES_MIN = 16;

const encoder = new TextEncoder();

/** @returns {Promise<string>} in hexadecimal */
export async function sha256(text) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", encoder.encode(text)));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Whether two texts of hexadecimal digits are the same, in a time that depends on their length only. */
export function sameDigest(left, right) {
  let difference = left.length ^ right.length;
  for (let at = 0; at < left.length && at < right.length; at++) {
    difference |= left.charCodeAt(at) ^ right.charCodeAt(at);
  }
  return difference === 0;
}

/** Whether two secrets are the same: of both only the digests are compared. */
export async function sameSecret(left, right) {
  return sameDigest(await sha256(left), await sha256(right));
}

async function digestsOf(entry) {
  const keys = entry.key === undefined ? [] : [entry.key].flat();
  const digests = entry.key_sha256 === undefined ? [] : [entry.key_sha256].flat();
  const areRight =
    keys.every((key) => typeof key === "string" && key.length >= KEY_BYTES_MIN) &&
    digests.every((digest) => typeof digest === "string" && /^[0-9a-f]{64}$/i.test(digest));
  if (!areRight || keys.length + digests.length === 0) {
    throw new Error(`key: of ${KEY_BYTES_MIN} characters at least, or key_sha256: in hexadecimal`);
  }
  return [...(await Promise.all(keys.map(sha256))), ...digests.map((digest) => digest.toLowerCase())];
}

async function readEntry(entry) {
  const unknown = Object.keys(entry).find((member) => !KNOWN_MEMBERS.has(member));
  if (unknown !== undefined) {
    throw new Error(`member ${unknown} is not understood here; leave it to the coordinators`);
  }
  const rights = entry.rights;
  if (!Array.isArray(rights) || rights.length === 0 || !rights.every((right) => RIGHTS.includes(right))) {
    throw new Error(`rights: a list of ${RIGHTS.join(", ")}`);
  }
  const services = entry.services;
  if (services !== undefined && !(Array.isArray(services) && services.every((one) => typeof one === "string"))) {
    throw new Error("services: a list of names, of which * stands for any rest");
  }
  if (services !== undefined && rights.includes("admin")) {
    throw new Error("services beside admin, who may everything");
  }
  return { name: String(entry.name ?? ""), rights, services, digests: await digestsOf(entry) };
}

/**
 * @param {string} single API_KEY
 * @param {string} file API_KEYS
 * @returns {Promise<object[]>} empty: nobody is asked for a key
 * @throws {Error} that says what is wrong
 */
export async function readKeys(single, file) {
  const entries = [];
  if (single !== "") {
    entries.push({ name: "api-key", rights: ["admin"], digests: [await sha256(single)] });
  }
  if (file === "") {
    return entries;
  }
  let parsed;
  try {
    parsed = JSON.parse(file);
  } catch {
    throw new Error("API_KEYS is not JSON");
  }
  if (!Array.isArray(parsed?.keys) || Object.keys(parsed).some((member) => member !== "keys")) {
    throw new Error('API_KEYS must be {"keys": […]}; tokens and limits are not understood here');
  }
  for (const [index, entry] of parsed.keys.entries()) {
    try {
      entries.push(await readEntry(Object(entry)));
    } catch (error) {
      throw new Error(`API_KEYS, keys[${index}]: ${error.message}`);
    }
  }
  return entries;
}

function credentialOf(headers) {
  const key = headers.get("X-API-Key");
  if (key !== null) {
    return { credential: key, source: "key" };
  }
  const bearer = /^Bearer +(\S+) *$/i.exec(headers.get("Authorization") ?? "");
  return bearer === null ? { credential: null, source: "none" } : { credential: bearer[1], source: "bearer" };
}

/** Whether one of the patterns, of which * stands for any rest, fits. */
function fits(patterns, service) {
  return patterns.some((pattern) =>
    pattern.endsWith("*") ? service.startsWith(pattern.slice(0, -1)) : pattern === service,
  );
}

const challenge = { "WWW-Authenticate": 'Bearer realm="muster"' };

/**
 * @param {object[]} keys of readKeys
 * @param {Headers} headers of the request
 * @param {{right: string, ownWorker?: boolean, service?: string, allServices?: boolean}} wanted right: "" is for
 *   everybody; ownWorker: a worker's token passes, which the coordinator judges that it is forwarded to
 * @returns {Promise<{source: string, isKey: boolean}>} where the credential was; isKey: it is one of the keys
 * @throws {ApiError}
 */
export async function admit(keys, headers, wanted) {
  if (keys.length === 0 || wanted.right === "") {
    return { source: "none", isKey: keys.length === 0 };
  }
  const { credential, source } = credentialOf(headers);
  if (credential === null) {
    const ways = "X-API-Key: KEY or as Authorization: Bearer KEY";
    const message = `this takes a key with the right ${wanted.right}; send it as ${ways}`;
    throw new ApiError("unauthorized", message, challenge);
  }
  if (wanted.ownWorker && WORKER_TOKEN.test(credential)) {
    return { source, isKey: false };
  }
  if (WORKER_TOKEN.test(credential)) {
    throw new ApiError("forbidden", `a worker's token does not do here; send a key with the right ${wanted.right}`);
  }
  const digest = await sha256(credential);
  const found = keys.find((entry) => entry.digests.some((one) => sameDigest(one, digest)));
  if (found === undefined) {
    throw new ApiError("unauthorized", "no such key", challenge);
  }
  const isAdmin = found.rights.includes("admin");
  if (!isAdmin && !found.rights.includes(wanted.right)) {
    throw new ApiError("forbidden", `the key ${found.name} lacks the right ${wanted.right}`);
  }
  const isNarrowed = !isAdmin && found.services !== undefined;
  if (isNarrowed && (wanted.allServices || (wanted.service !== undefined && !fits(found.services, wanted.service)))) {
    throw new ApiError("forbidden", `the key ${found.name} may not call ${wanted.service ?? "all services"}`);
  }
  return { source, isKey: true };
}
