/** Variables and secrets of a script, as wrangler.toml sets them. */

/** A number of seconds that is a variable, in milliseconds. */
export function secondsOf(env, name, otherwise) {
  const text = env[name];
  const seconds = text === undefined || text === "" ? otherwise : Number(text);
  if (!Number.isFinite(seconds) || seconds < 0) {
    throw new Error(`${name} must be a number of seconds`);
  }
  return seconds * 1000;
}

export function textOf(env, name, otherwise = "") {
  return typeof env[name] === "string" ? env[name].trim() : otherwise;
}

export function flagOf(env, name) {
  return ["true", "1", "yes", "on"].includes(textOf(env, name).toLowerCase());
}
