import assert from "node:assert/strict";
import test from "node:test";

if (globalThis.crypto === undefined) {
  globalThis.crypto = (await import("node:crypto")).webcrypto; /* Node 18 */
}

const { corsHeaders, parseOrigins } = await import("../../../gateway/edge/shared/cors.js");
const { checkBody, segment, list, name, whole, url, word, map } =
  await import("../../../gateway/edge/shared/fields.js");
const { admit, readKeys, sameSecret } = await import("../../../gateway/edge/shared/keys.js");
const { leadsInside, parseOrigin } = await import("../../../gateway/edge/shared/origin.js");
const { routeOf } = await import("../../../gateway/edge/shared/routes.js");
const { anyJson, seeded } = await import("../random.mjs");

test("URLs that are taken", () => {
  for (const text of ["http://a", "https://a.example:8443/x/", "http://127.0.0.1:1", "http://[::1]:80"]) {
    assert.notEqual(parseOrigin(text), null, text);
  }
  const wrong = [
    "",
    "a",
    "ftp://a",
    "http://",
    "http:///a",
    "http://u@a",
    "http://u:p@a",
    "http://a?x",
    "http://a#x",
    "http://a b",
    "http://a:99999",
    "http://a:0",
    "javascript:1",
    "http:\\\\a",
    "http://a\n",
    `http://${"a".repeat(800)}`,
    7,
    null,
  ];
  for (const text of wrong) {
    assert.equal(parseOrigin(text), null, String(text));
  }
  assert.notEqual(parseOrigin(`http://a/${"x".repeat(751)}`), null, "760 characters");
  assert.equal(parseOrigin(`http://a/${"x".repeat(752)}`), null, "761");
});

test("private addresses in all their spellings", () => {
  const inside = [
    "127.0.0.1",
    "127.1",
    "0x7f000001",
    "2130706433",
    "017700000001",
    "10.0.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:10.0.0.1]",
    "[fe80::1]",
    "[fc00::1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[2001:db8::1]",
    "[2001::1]",
    "localhost",
    "LOCALHOST.",
    "a.localhost",
    "127.0.0.1.",
  ];
  for (const host of inside) {
    assert.equal(leadsInside(parseOrigin(`http://${host}:80`)), true, host);
  }
  for (const host of ["8.8.8.8", "172.32.0.1", "a.example", "[2606:4700::1111]", "[2002:808:808::]", "100.128.0.1"]) {
    assert.equal(leadsInside(parseOrigin(`http://${host}:80`)), false, host);
  }
});

test("any text as a URL is taken or refused", () => {
  const parts = [
    "http",
    "https",
    "://",
    "/",
    ":",
    "[",
    "]",
    "::",
    "127.1",
    "@",
    "%",
    "..",
    "\u0000",
    "ü",
    "0x7f",
    "a",
    "65536",
    "-",
    "\\",
  ];
  for (let seed = 1; seed <= 5000; seed++) {
    const random = seeded(seed);
    const text =
      (random() < 0.7 ? "http://" : "") +
      Array.from({ length: 1 + Math.floor(random() * 8) }, () => parts[Math.floor(random() * parts.length)]).join("");
    const parsed = parseOrigin(text);
    if (parsed !== null) {
      assert.ok(["http:", "https:"].includes(parsed.protocol), `seed ${seed}`);
      assert.equal(parsed.username + parsed.password + parsed.search + parsed.hash, "", `seed ${seed}`);
      assert.equal(typeof leadsInside(parsed), "boolean");
    }
  }
});

test("fields are checked from both sides", () => {
  const fault = (rules, body) => {
    try {
      checkBody(body, { rules, required: [], oneOf: [] });
      return "";
    } catch (error) {
      assert.equal(error.status, 422);
      return error.message;
    }
  };
  assert.equal(fault({ a: segment(3) }, { a: "abc" }), "");
  assert.equal(fault({ a: segment(3) }, { a: "abcd" }), "field a must be at most 3 bytes long");
  assert.match(fault({ a: segment(3) }, { a: "ää" }), /at most 3/, "bytes, not characters");
  for (const text of [".", "..", "a/b", "a\\b", "", "\u007f"]) {
    assert.notEqual(fault({ a: segment(9) }, { a: text }), "", text);
  }
  assert.equal(fault({ a: whole(7) }, { a: 7 }), "");
  for (const value of [8, -1, 0.5, "7", true]) {
    assert.notEqual(fault({ a: whole(7) }, { a: value }), "", String(value));
  }
  assert.equal(fault({ a: list(2, name(9)) }, { a: ["x", "y"] }), "");
  assert.match(fault({ a: list(2, name(9)) }, { a: ["x", "y", "z"] }), /at most 2 items/);
  assert.match(fault({ a: list(2, name(9)) }, { a: ["x", 7] }), /a\[1\] must be a string/);
  assert.match(fault({ a: map(1, whole(9)) }, { a: { x: 1, y: 2 } }), /at most 1 members/);
  assert.match(fault({ a: url() }, { a: "x" }), /http or https/);
  assert.match(fault({ a: word(["x", "y"]) }, { a: "z" }), /must be x or y/);
  assert.throws(() => checkBody([], { rules: {} }), /an object/);
  assert.throws(() => checkBody({}, { rules: {}, required: [], oneOf: ["url"] }), /url is required/);
});

test("any body is taken or refused with a name", () => {
  const rules = { worker_id: segment(256), url: url(), services: map(5, whole(9)), list: list(3, name(4)) };
  for (let seed = 1; seed <= 5000; seed++) {
    const body = anyJson(seeded(seed), ["worker_id", "url", "services", "list", "__proto__"]);
    try {
      assert.equal(checkBody(body, { rules, required: ["worker_id"], oneOf: ["url"] }), body);
      assert.equal(typeof body.worker_id, "string", `seed ${seed}`);
    } catch (error) {
      assert.match(error.message, /^field /, `seed ${seed}: ${error.stack}`);
    }
  }
});

test("origins", () => {
  const some = parseOrigins("https://a.example, https://b.example");
  assert.deepEqual(corsHeaders(some, "https://evil.example", false), [["Vary", "Origin"]]);
  assert.equal(
    new Map(corsHeaders(some, "https://b.example", true)).get("Access-Control-Allow-Origin"),
    "https://b.example",
  );
  assert.equal(new Map(corsHeaders(parseOrigins("*"), "https://c", false)).get("Access-Control-Allow-Origin"), "*");
  assert.deepEqual(corsHeaders(parseOrigins(""), "https://c", false), []);
});

test("keys and rights", async () => {
  const file = JSON.stringify({
    keys: [
      { name: "lab", key: "k".repeat(16), rights: ["worker"] },
      {
        name: "site",
        key_sha256: "15a596e3c98c407e043751ff3b21ff0358a1bdfdf3fe948b1523893a8e5de2e8",
        rights: ["client"],
        services: ["vision-ocr", "llm-*"],
      },
    ],
  });
  const keys = await readKeys("the only key", file);
  const ask = async (key, wanted, header = "X-API-Key") => {
    try {
      return (await admit(keys, new Headers(key === null ? {} : { [header]: key }), wanted)).source;
    } catch (error) {
      return error.status;
    }
  };
  assert.equal(await ask(null, { right: "" }), "none");
  assert.equal(await ask(null, { right: "client" }), 401);
  assert.equal(await ask("wrong", { right: "client" }), 401);
  assert.equal(await ask("the only key", { right: "admin" }), "key");
  assert.equal(await ask("Bearer the-only-key", { right: "admin" }, "Authorization"), 401);
  assert.equal(await ask(`Bearer ${"k".repeat(16)}`, { right: "worker" }, "Authorization"), "bearer");
  assert.equal(await ask("k".repeat(16), { right: "admin" }), 403);
  assert.equal(await ask("correct", { right: "client", service: "llm-x" }), "key");
  assert.equal(await ask("correct", { right: "client", service: "other" }), 403);
  assert.equal(await ask("correct", { right: "client", allServices: true }), 403);
  assert.equal(await ask("mw1.anything", { right: "worker", ownWorker: true }), "key", "its coordinator judges it");
  assert.equal(await ask("mw1.anything", { right: "worker" }), 403, "whosever it is");
  assert.equal(await sameSecret("a", "a"), true);
  assert.equal(await sameSecret("a", "b"), false);
  assert.deepEqual(await readKeys("", ""), []);
  for (const wrong of [
    "{",
    "[]",
    '{"keys": [{"rights": ["client"], "key": "short"}]}',
    '{"keys": [], "limits": {}}',
    '{"keys": [{"rights": ["client"], "key": "kkkkkkkkkkkkkkkk", "workers": ["x"]}]}',
    '{"keys": [{"rights": ["root"], "key": "kkkkkkkkkkkkkkkk"}]}',
    '{"keys": [7]}',
  ]) {
    await assert.rejects(readKeys("", wrong), /API_KEYS/, wrong);
  }
});

test("routes", () => {
  const of = (method, path) => {
    try {
      const route = routeOf(method, path);
      return [route.operation, route.name, route.rest];
    } catch (error) {
      return [error.status];
    }
  };
  assert.deepEqual(of("POST", "/api/service/ocr"), ["relay_service", "ocr", ""]);
  assert.deepEqual(of("PATCH", "/api/service/a%20b/x/y"), ["relay_service", "a b", "/x/y"]);
  assert.deepEqual(of("GET", "/service/files/"), ["relay_raw", "files", "/"]);
  assert.deepEqual(of("GET", "/service/files"), [404]);
  assert.deepEqual(of("GET", "/api/service/%ff"), [400]);
  assert.deepEqual(of("DELETE", "/api/worker/unregister/a"), ["unregister", "a", undefined]);
  assert.deepEqual(of("GET", "/api/worker/unregister/"), [404]);
  assert.deepEqual(of("GET", "/api/worker/register"), [405]);
  assert.deepEqual(of("HEAD", "/health"), ["health", undefined, undefined]);
  assert.deepEqual(of("GET", "/"), [404]);
});
