/**
 * The service catalog: what services are called, what they take, and where they are on a worker. The one of API.md
 * holds until a coordinator's list brings its own.
 */

import { isObject, segment } from "./fields.js";

const SERVICES_MAX = 1000;
export const TYPES = ["gpu", "cpu", "storage", "edge"];

/** name, requires, priority, port, alias, path */
const DEFAULTS = [
  ["llm-inference", "gpu", 1, 8105, "llm"],
  ["vision-ocr", "gpu", 1, 8104, "ocr"],
  ["rag-embeddings", "gpu", 2, 8102, "rag"],
  ["ner-extraction", "cpu", 2, 8108, "ner"],
  ["document-processing", "cpu", 2, 8103, "upload"],
  ["notes-coa", "cpu", 3, 8100, "notes"],
  ["chromadb", "storage", 1, 8000],
  ["redis", "storage", 2, 6379],
  ["postgres", "storage", 3, 5432],
  ["minio", "storage", 4, 9000],
  ["neo4j", "storage", 5, 7474],
  ["coordinator", "edge", 1, 8080, undefined, "/service/{type}"],
  ["edge-proxy", "edge", 1, 8787, undefined, "/service/{type}"],
  ["load-balancer", "edge", 2, 8090, undefined, "/service/{type}"],
];

const isName = (value) => segment(128)(value) === "";
/** As it may stand in a URL: nothing that ends the path. */
const isPath = (value) => typeof value === "string" && /^\/[\x21-\x7e]{0,511}$/.test(value) && !/[?#\\]/.test(value);
const count = (value, otherwise) => (Number.isInteger(value) && value >= 0 && value < 2 ** 32 ? value : otherwise);

function readService(item) {
  return {
    name: item.name,
    aliases: Array.isArray(item.aliases) ? item.aliases.filter(isName).slice(0, SERVICES_MAX) : [],
    path: item.path === undefined || item.path === "" ? "/api/{type}" : item.path,
    requires: TYPES.includes(item.requires) ? item.requires : "cpu",
    priority: count(item.priority, 1),
    port: count(item.port, 0),
    repeatable: item.repeatable === true,
  };
}

export class Catalog {
  /** @param {unknown} items the member `catalog` of a list; what cannot be understood is left out */
  constructor(items) {
    /** @type {Map<string, ReturnType<typeof readService>>} by name */
    this.services = new Map();
    /** @type {Map<string, string>} names by alias */
    this.aliases = new Map();
    for (const item of Array.isArray(items) ? items.slice(0, SERVICES_MAX) : []) {
      const isService = isObject(item) && isName(item.name) && (!item.path || isPath(item.path));
      if (isService && !this.services.has(item.name)) {
        this.services.set(item.name, readService(item));
      }
    }
    for (const service of this.services.values()) {
      for (const alias of service.aliases) {
        if (!this.services.has(alias) && !this.aliases.has(alias)) {
          this.aliases.set(alias, service.name);
        }
      }
    }
  }

  /** @param {string} name or alias */
  nameOf(name) {
    return this.aliases.get(name) ?? name;
  }

  /** @param {string} name */
  isRepeatable(name) {
    return this.services.get(name)?.repeatable === true;
  }

  /**
   * Where a request goes on a worker.
   * @param {string} type as the request named it, encoded
   * @param {string} rest what follows, encoded; empty, or begins with "/"
   */
  pathOf(type, rest) {
    let decoded = type;
    try {
      decoded = decodeURIComponent(type);
    } catch {
      /* a name that nobody has */
    }
    const path = this.services.get(this.nameOf(decoded))?.path ?? "/api/{type}";
    return path.replaceAll("{type}", () => type) + rest;
  }
}

/** @returns {Catalog} of API.md */
export function defaultCatalog() {
  return new Catalog(
    DEFAULTS.map(([name, requires, priority, port, alias, path]) => ({
      name,
      requires,
      priority,
      port,
      aliases: alias === undefined ? [] : [alias],
      path,
    })),
  );
}
