/**
 * Checks of what came in as JSON, as gateway/schema.c makes them: an object of rules by member, each a function that
 * returns what is wrong ("" if nothing is).
 */

import { ApiError } from "./errors.js";
import { parseOrigin } from "./origin.js";

const encoder = new TextEncoder();

/** @param {string} text */
export function byteLength(text) {
  return encoder.encode(text).length;
}

function typeOf(value) {
  if (value === null) {
    return "null";
  }
  if (Array.isArray(value)) {
    return "an array";
  }
  return { string: "a string", number: "a number", boolean: "a boolean", object: "an object" }[typeof value];
}

const wrongType = (wanted, value) => `must be ${wanted}, not ${typeOf(value)}`;

/** A fault of a member, or of a member's member: "a must …", "a.b must …", "a[0] must …". */
const joined = (fault) => (/^[[.]/.test(fault) ? fault : ` ${fault}`);

/** Whether it is an object, and no array. */
export function isObject(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

/** Any text of at most that many bytes. */
export const text = (maximum) => (value) => {
  if (typeof value !== "string") {
    return wrongType("a string", value);
  }
  return byteLength(value) > maximum ? `must be at most ${maximum} bytes long` : "";
};

/** Text on one line; may be empty. */
export const line = (maximum) => (value) => {
  const fault = text(maximum)(value);
  if (fault !== "") {
    return fault;
  }
  /* eslint-disable-next-line no-control-regex */
  return /[\u0000-\u001f\u007f-\u009f]/.test(value) ? "must not contain control characters" : "";
};

/** The same, not empty. */
export const name = (maximum) => (value) => {
  return line(maximum)(value) || (value === "" ? "must not be empty" : "");
};

/** A name that can be a segment of a path. */
export const segment = (maximum) => (value) => {
  const fault = name(maximum)(value);
  const isWrong = fault === "" && /[/\\]|^\.{1,2}(;|$)/.test(value);
  return isWrong ? "must not be . or .. or hold a slash or a backslash" : fault;
};

export const url = () => (value) => {
  if (typeof value !== "string") {
    return wrongType("a string", value);
  }
  const isRight = parseOrigin(value) !== null;
  return isRight ? "" : "must be an http or https URL without credentials, query or fragment";
};

export const word = (words) => (value) => {
  return words.includes(value) ? "" : `must be ${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
};

export const flag = () => (value) => (typeof value === "boolean" ? "" : wrongType("a boolean", value));

export const number =
  (maximum, minimum = 0) =>
  (value) => {
    if (typeof value !== "number") {
      return wrongType("a number", value);
    }
    return value >= minimum && value <= maximum ? "" : `must be from ${minimum} to ${maximum}`;
  };

export const whole = (maximum) => (value) => {
  if (typeof value !== "number") {
    return wrongType("a number", value);
  }
  const isRight = Number.isInteger(value) && value >= 0 && value <= maximum;
  return isRight ? "" : `must be a whole number from 0 to ${maximum}`;
};

export const list = (maximum, rule) => (value) => {
  if (!Array.isArray(value)) {
    return wrongType("an array", value);
  }
  if (value.length > maximum) {
    return `must have at most ${maximum} items`;
  }
  for (const [index, item] of value.entries()) {
    const fault = rule(item);
    if (fault !== "") {
      return `[${index}]${joined(fault)}`;
    }
  }
  return "";
};

/** An object of any members, with a rule for each. */
export const map = (maximum, rule) => (value) => {
  if (!isObject(value)) {
    return wrongType("an object", value);
  }
  const members = Object.entries(value);
  if (members.length > maximum) {
    return `must have at most ${maximum} members`;
  }
  for (const [key, member] of members) {
    const fault = rule(member);
    if (fault !== "") {
      return `.${key.slice(0, 60)}${joined(fault)}`;
    }
  }
  return "";
};

/** An object whose known members have rules; others are free. */
export const object = (maximum, rules) => (value) => {
  if (!isObject(value)) {
    return wrongType("an object", value);
  }
  if (byteLength(JSON.stringify(value)) > maximum) {
    return `must be at most ${maximum} bytes long`;
  }
  const fault = firstFault(value, { rules });
  return fault === null ? "" : `.${fault}`;
};

/** @returns {string | null} "member must …" */
function firstFault(value, { rules, required = [], oneOf = [] }) {
  for (const [member, rule] of Object.entries(rules)) {
    const isThere = Object.hasOwn(value, member) && value[member] !== null && value[member] !== undefined;
    if (!isThere && required.includes(member)) {
      return `${member} is required`;
    }
    const fault = isThere ? rule(value[member]) : "";
    if (fault !== "") {
      return `${member}${joined(fault)}`;
    }
  }
  const hasOne = oneOf.length === 0 || oneOf.some((member) => typeof value[member] === "string");
  return hasOne ? null : `${oneOf[0]} is required`;
}

/**
 * @param {unknown} body
 * @param {{rules: object, required?: string[], oneOf?: string[]}} schema
 * @returns {object} the body
 * @throws {ApiError}
 */
export function checkBody(body, schema) {
  if (!isObject(body)) {
    throw new ApiError("invalid_field", `field body ${wrongType("an object", body)}`);
  }
  const fault = firstFault(body, schema);
  if (fault !== null) {
    throw new ApiError("invalid_field", `field ${fault}`);
  }
  return body;
}
