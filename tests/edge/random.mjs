/** Random values by a seed, so that a test that failed can be run again. */

/** @param {number} seed @returns {() => number} from 0 to 1 (mulberry32, by T. Ettinger) */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const TEXTS = ["", "a", "files", "..", "a/b", "\u0000", "ü", "__proto__", "constructor", "x".repeat(2000), "online"];
const URLS = ["http://127.0.0.1:1", "https://a.example/x/", "ftp://a", "http://u:p@a", "http://", "https://[::1]:8"];
const NUMBERS = [0, -1, 0.5, 1e308, -0, 2 ** 53, 7];

const pick = (random, list) => list[Math.floor(random() * list.length)];

/** Any value that JSON can have, with names that matter among those of its members. */
export function anyJson(random, names, depth = 4) {
  const kind = Math.floor(random() * (depth > 0 ? 8 : 6));
  switch (kind) {
    case 0:
      return null;
    case 1:
      return random() < 0.5;
    case 2:
      return pick(random, NUMBERS);
    case 3:
      return pick(random, URLS);
    case 4:
    case 5:
      return pick(random, TEXTS);
    case 6:
      return Array.from({ length: Math.floor(random() * 5) }, () => anyJson(random, names, depth - 1));
    default: {
      const count = Math.floor(random() * 8);
      const members = Array.from({ length: count }, () => [pick(random, names), anyJson(random, names, depth - 1)]);
      return Object.fromEntries(members);
    }
  }
}
