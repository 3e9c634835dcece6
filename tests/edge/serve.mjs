/**
 * Runs one of the scripts of gateway/edge in workerd, for tests:
 *
 *     node serve.mjs proxy|router [--port PORT] [--data-dir FOLDER] [NAME=VALUE...]
 *
 * NAME=VALUE are the script's variables and secrets. It prints "ready URL" on a line, and stops on SIGTERM. What is
 * kept (the Durable Object, the Cache API) is in the folder; without one it is forgotten.
 */

import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const top = join(dirname(fileURLToPath(import.meta.url)), "../..");

export const SCRIPTS = {
  proxy: { path: "gateway/edge/proxy/worker.js", options: {} },
  router: {
    path: "gateway/edge/router/worker.js",
    options: { durableObjects: { REGISTRY: { className: "Registry", useSQLite: true } } },
  },
};

async function importMiniflare() {
  try {
    return await import("miniflare");
  } catch (error) {
    console.error(`miniflare is missing: run bazel/setup check, which fetches it into node_modules (${error.message})`);
    process.exit(1);
  }
}

/** A workerd that does not outlive us, even if we are killed. */
function mortalWorkerd(folder) {
  const require = createRequire(import.meta.url);
  const real = createRequire(require.resolve("miniflare"))("workerd").default;
  const wrapper = join(folder, "workerd");
  if (!existsSync("/usr/bin/setpriv")) {
    return;
  }
  writeFileSync(wrapper, `#!/bin/sh\nexec /usr/bin/setpriv --pdeathsig KILL -- '${real}' "$@"\n`);
  chmodSync(wrapper, 0o755);
  process.env.MINIFLARE_WORKERD_PATH = wrapper;
}

function readArguments(words) {
  const given = { script: words[0], port: 0, dataDir: "", bindings: {}, cf: {} };
  for (let at = 1; at < words.length; at++) {
    const pair = /^([A-Z_]+)=(.*)$/s.exec(words[at]);
    if (words[at] === "--port") {
      given.port = Number(words[++at]);
    } else if (words[at] === "--data-dir") {
      given.dataDir = words[++at];
    } else if (words[at] === "--cf") {
      given.cf = JSON.parse(words[++at]);
    } else if (pair !== null) {
      given.bindings[pair[1]] = pair[2];
    } else {
      throw new Error(`what is ${words[at]}?`);
    }
  }
  if (!Object.hasOwn(SCRIPTS, given.script)) {
    throw new Error("usage: serve.mjs proxy|router [--port PORT] [--data-dir FOLDER] [--cf JSON] [NAME=VALUE...]");
  }
  return given;
}

/** @returns {Promise<import("miniflare").Miniflare>} */
export async function start({ script, port = 0, dataDir = "", bindings = {}, cf = {}, scratch }) {
  mortalWorkerd(scratch);
  const { Miniflare, Log, LogLevel } = await importMiniflare();
  const { path, options } = SCRIPTS[script];
  return new Miniflare({
    log: new Log(LogLevel.WARN),
    host: "127.0.0.1",
    port,
    modules: true,
    modulesRoot: join(top, "gateway/edge"),
    modulesRules: [{ type: "ESModule", include: ["**/*.js"] }],
    scriptPath: join(top, path),
    compatibilityDate: "2025-01-01",
    bindings,
    cf /* and not one that is fetched from elsewhere */,
    ...options,
    ...(dataDir === ""
      ? {}
      : { durableObjectsPersist: join(dataDir, "objects"), cachePersist: join(dataDir, "cache") }),
  });
}

async function main() {
  const scratch = mkdtempSync(join(process.env.TEST_TMPDIR ?? tmpdir(), "serve-"));
  const miniflare = await start({ ...readArguments(process.argv.slice(2)), scratch });
  const url = await miniflare.ready;
  const stop = async () => {
    await miniflare.dispose();
    rmSync(scratch, { recursive: true, force: true });
    process.exit(0);
  };
  for (const signal of ["SIGTERM", "SIGINT"]) {
    process.removeAllListeners(signal); /* miniflare's own, which ends us with another code */
    process.on(signal, stop);
  }
  console.log(`ready ${url.origin}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main().catch((error) => {
    console.error(error.message);
    process.exit(2);
  });
}
