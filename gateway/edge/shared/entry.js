/**
 * What both scripts do around an operation: preflights, keys, errors, and the headers that every answer carries.
 */

import { parseOrigins } from "./cors.js";
import { ApiError } from "./errors.js";
import { finishResponse, preflight, requestId } from "./http.js";
import { admit, readKeys } from "./keys.js";
import { routeOf } from "./routes.js";
import { flagOf, textOf } from "./settings.js";

/**
 * @typedef {object} Call one request
 * @property {Request} request
 * @property {URL} url
 * @property {string} id X-Request-Id
 * @property {object} route of routes.js
 * @property {{source: string, isKey: boolean}} caller
 * @property {[string, string][]} extra headers of the answer
 * @property {object} env
 * @property {ExecutionContext} context
 */

/** What depends on the variables only, read once for each isolate. */
async function guardOf(env) {
  return {
    cors: parseOrigins(textOf(env, "ALLOWED_ORIGINS", "*")),
    keys: await readKeys(textOf(env, "API_KEY"), textOf(env, "API_KEYS")),
    isInsecure: flagOf(env, "INSECURE"),
  };
}

const LOOPBACK = /^(127\.\d+\.\d+\.\d+|\[::1\]|localhost)$/;

/**
 * Without a key all is open, and so only this machine is served: as the programs, which listen on no other address
 * then. What Cloudflare routes here is never for a loopback address.
 * @throws {ApiError}
 */
function refuseWithoutKey(guard, hostname) {
  if (guard.keys.length === 0 && !guard.isInsecure && !LOOPBACK.test(hostname)) {
    throw new ApiError(
      "unavailable",
      "there is no key, and others can reach this: set the secret API_KEY or API_KEYS (wrangler secret put API_KEY), " +
        'or the variable INSECURE = "true" to serve everybody who comes',
    );
  }
}

async function admitted(guard, request, route, nameOf) {
  return admit(guard.keys, request.headers, {
    right: route.right === "peer" ? "" : route.right,
    ownWorker: route.ownWorker,
    service: route.isService ? nameOf(route.name) : undefined,
    allServices: route.allServices,
  });
}

/**
 * @param {(call: Call) => Promise<Response>} run
 * @param {(name: string) => string} [nameOf] a service's name, of an alias
 * @returns {{fetch: (request: Request, env: object, context: object) => Promise<Response>}} what a script exports
 */
export function entry(run, nameOf = (name) => name) {
  /** @type {Awaited<ReturnType<typeof guardOf>> | null} */
  let guard = null;
  return {
    async fetch(request, env, context) {
      const id = requestId(request.headers);
      const extra = [];
      let response;
      try {
        guard ??= await guardOf(env);
        const answered = preflight(request, guard.cors);
        if (answered !== null) {
          answered.headers.set("X-Request-Id", id);
          return answered;
        }
        const url = new URL(request.url);
        refuseWithoutKey(guard, url.hostname);
        const route = routeOf(request.method, url.pathname);
        if (route.operation === "options") {
          extra.push(["Allow", route.allowed]);
          return finishResponse(new Response(null, { status: 204 }), { request, id, cors: guard.cors, extra });
        }
        const caller = await admitted(guard, request, route, nameOf);
        response = await run({ request, url, id, route, caller, extra, env, context });
      } catch (error) {
        response = refuse(error);
      }
      return finishResponse(response, { request, id, cors: guard?.cors ?? parseOrigins(""), extra });
    },
  };
}

function refuse(error) {
  if (error instanceof ApiError) {
    return error.response();
  }
  console.error(error.stack ?? String(error));
  return new ApiError("internal_error", `this script failed: ${error.message}`).response();
}
