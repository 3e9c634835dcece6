/**
 * URLs of workers and coordinators: which are taken at all, and which lead to a private address. The tables are those
 * of common/address.c.
 */

const URL_BYTES_MAX = 760;

/** Networks that are nobody's to reach from outside: [address, bits]. */
const V4_SPECIAL = [
  [0x00000000, 8],
  [0x0a000000, 8],
  [0x64400000, 10],
  [0x7f000000, 8],
  [0xa9fe0000, 16],
  [0xac100000, 12],
  [0xc0000000, 24],
  [0xc0000200, 24],
  [0xc0586300, 24],
  [0xc0a80000, 16],
  [0xc6120000, 15],
  [0xc6336400, 24],
  [0xcb007100, 24],
  [0xe0000000, 3],
];

/** @param {number} address 32 bits */
function v4IsPublic(address) {
  return V4_SPECIAL.every(([network, bits]) => (address ^ network) >>> (32 - bits) !== 0);
}

/** @param {string} text @returns {number | null} */
function v4Parse(text) {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256)) {
    return null;
  }
  return parts.reduce((address, part) => ((address << 8) | Number(part)) >>> 0, 0);
}

/** The eight groups of an address that the URL parser has put into its shortest form; null: it is none. */
function v6Parse(text) {
  const halves = text.split("::");
  if (halves.length > 2) {
    return null;
  }
  const groups = halves.map((half) => (half === "" ? [] : half.split(":")));
  const given = groups.reduce((sum, list) => sum + list.length, 0);
  const zeros = halves.length === 2 ? 8 - given : 0;
  const all = [...groups[0], ...new Array(Math.max(zeros, 0)).fill("0"), ...(groups[1] ?? [])];
  return all.length === 8 && all.every((group) => /^[0-9a-f]{1,4}$/i.test(group))
    ? all.map((group) => Number.parseInt(group, 16))
    : null;
}

function v6IsPublic(groups) {
  const embedded = (high, low) => v4IsPublic(((high << 16) | low) >>> 0);
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    return embedded(groups[6], groups[7]);
  }
  if (groups[0] === 0x64 && groups[1] === 0xff9b && groups.slice(2, 6).every((group) => group === 0)) {
    return embedded(groups[6], groups[7]);
  }
  if (groups[0] === 0x2002) {
    return embedded(groups[1], groups[2]);
  }
  if (groups[0] === 0x2001 && groups[1] < 0x200) {
    return false;
  }
  return (groups[0] & 0xe000) === 0x2000 && !(groups[0] === 0x2001 && groups[1] === 0xdb8);
}

/**
 * @param {unknown} text
 * @returns {URL | null} null: not http or https, with credentials, query or fragment, or too long
 */
export function parseOrigin(text) {
  if (typeof text !== "string" || text.length > URL_BYTES_MAX || !/^https?:\/\/[^\s/?#@\\]/i.test(text)) {
    return null;
  }
  if (/[\s?#@\\]|[^\x21-\x7e]/.test(text)) {
    return null;
  }
  try {
    const url = new URL(text);
    return url.hostname === "" || url.port === "0" ? null : url;
  } catch {
    return null;
  }
}

/** @param {string} text without slashes at its end */
export function withoutSlashes(text) {
  return text.replace(/\/+$/, "");
}

/**
 * Whether a URL names a private address. What a name stands for is not known here: Cloudflare calls public addresses
 * only.
 * @param {URL} url
 */
export function leadsInside(url) {
  const host = url.hostname.replace(/\.$/, "").toLowerCase();
  if (host === "localhost" || host.endsWith(".localhost")) {
    return true;
  }
  if (host.startsWith("[")) {
    const groups = v6Parse(host.slice(1, -1));
    return groups === null || !v6IsPublic(groups);
  }
  const address = v4Parse(host); /* the URL parser has turned "127.1" and "0x7f000001" into this form */
  return address !== null && !v4IsPublic(address);
}
