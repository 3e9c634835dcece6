/** Cross-origin requests: ALLOWED_ORIGINS, as gateway/cors.c answers them. */

/** @param {string} list separated by commas; "*" allows all */
export function parseOrigins(list) {
  const origins = list.split(/[\s,]+/).filter((origin) => origin !== "");
  return { any: origins.includes("*"), origins: new Set(origins) };
}

/**
 * @param {ReturnType<typeof parseOrigins>} allowed
 * @param {string | null} origin of the request
 * @param {boolean} preflight
 * @returns {[string, string][]} headers of the answer
 */
export function corsHeaders(allowed, origin, preflight) {
  const headers = [];
  if (!allowed.any && allowed.origins.size > 0) {
    headers.push(["Vary", "Origin"]);
  }
  if (origin === null || (!allowed.any && !allowed.origins.has(origin))) {
    return headers;
  }
  headers.push(["Access-Control-Allow-Origin", allowed.any ? "*" : origin]);
  if (!preflight) {
    headers.push(["Access-Control-Expose-Headers", "X-Request-Id, X-Served-By, ETag, Retry-After, Age"]);
    return headers;
  }
  headers.push(
    ["Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"],
    [
      "Access-Control-Allow-Headers",
      "Authorization, Content-Type, Accept, If-None-Match, X-API-Key, X-Request-Id, X-Requested-With",
    ],
    ["Access-Control-Max-Age", "86400"],
  );
  return headers;
}
