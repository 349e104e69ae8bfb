// What a policy in JavaScript is written with: the contract (`wit/plugin.wit`) in the shape of the language.
// Part of the project; change it as you like.

/** Makes the exports of a policy.
 *
 * `configure(settings)` answers `{ inputs, onRequest, onResponse }`, or throws an Error that says why it cannot work
 * with the settings. `inputs` names what is read: `{ fields: ["x-tenant"], parameters: ["page"], cookies: ["currency"],
 * captures: ["id"], method: true, host: true, path: true, query: true, time: true, decided: true,
 * responseFields: ["content-type"], ttl: true }`; what is left out is not passed.
 */
export function policy({ name, version, schema = { type: "object" }, selfTest = [], configure }) {
  let configured;
  return {
    setup: {
      describe: () => ({
        name,
        version,
        settingsSchema: JSON.stringify(schema),
        selfTest: selfTest.map((test) => JSON.stringify(test)),
      }),
      configure(settings) {
        const { inputs = {}, onRequest, onResponse } = configure(JSON.parse(settings));
        configured = { request: places(inputs, REQUEST), response: places(inputs, RESPONSE), onRequest, onResponse };
        return {
          requestFields: inputs.fields ?? [],
          queryParameters: inputs.parameters ?? [],
          cookies: inputs.cookies ?? [],
          captures: inputs.captures ?? [],
          method: inputs.method ?? false,
          host: inputs.host ?? false,
          path: inputs.path ?? false,
          query: inputs.query ?? false,
          time: inputs.time ?? false,
          decided: inputs.decided ?? false,
          responseFields: inputs.responseFields ?? [],
          ttl: inputs.ttl ?? false,
        };
      },
    },
    requestPolicy: {
      onRequest: (values) => configured.onRequest(new Message(configured.request, values)),
    },
    responsePolicy: {
      onResponse(status, requestValues, responseValues) {
        const response = new Message(configured.response, responseValues);
        response.status = status;
        return configured.onResponse(new Message(configured.request, requestValues), response);
      },
    },
  };
}

// In the order in which the values come; those in a list are asked for by a name.
const REQUEST = ["fields", "parameters", "cookies", "captures", "method", "host", "path", "query", "time", "decided"];
const RESPONSE = ["responseFields", "ttl"];

function places(inputs, order) {
  const places = {};
  let next = 0;
  for (const kind of order) {
    if (Array.isArray(inputs[kind])) {
      places[kind] = new Map();
      for (const name of inputs[kind]) {
        places[kind].set(kind.toLowerCase().endsWith("fields") ? name.toLowerCase() : name, next++);
      }
    } else if (inputs[kind]) {
      places[kind] = next++;
    }
  }
  return places;
}

/** A request or a response. What it does not have is undefined; what was not named in `inputs` is an error. */
class Message {
  #places;
  #values;
  constructor(places, values) {
    this.#places = places;
    this.#values = values;
  }
  #at(place, what) {
    if (place === undefined) throw new Error(`${what} is not among the inputs`);
    // Toolchains pass an absent value as null or as undefined.
    return this.#values[place] ?? undefined;
  }
  field(name) {
    const places = this.#places.fields ?? this.#places.responseFields;
    return this.#at(places?.get(name.toLowerCase()), `field ${name}`);
  }
  parameter(name) {
    return this.#at(this.#places.parameters?.get(name), `parameter ${name}`);
  }
  cookie(name) {
    return this.#at(this.#places.cookies?.get(name), `cookie ${name}`);
  }
  capture(name) {
    return this.#at(this.#places.captures?.get(name), `capture ${name}`);
  }
  get method() {
    return this.#at(this.#places.method, "method");
  }
  get host() {
    return this.#at(this.#places.host, "host");
  }
  get path() {
    return this.#at(this.#places.path, "path");
  }
  get query() {
    return this.#at(this.#places.query, "query");
  }
  /** Seconds since 1970. */
  get time() {
    return Number(this.#at(this.#places.time, "time"));
  }
  /** What the policies before this one decided: `look-up` or `pass`. */
  get decided() {
    return this.#at(this.#places.decided, "decided");
  }
  /** The lifetime that a response has so far, in milliseconds. */
  get ttl() {
    const ttl = this.#at(this.#places.ttl, "ttl");
    return ttl === undefined ? undefined : Number(ttl);
  }
}

/** Look it up under a key with further parts. `forward`: `{ upstream, only, without, remove, set }`. */
export const lookUp = ({ keyParts = [], tags = [], ...forward } = {}) => ({
  tag: "look-up",
  val: { keyParts, tags, forward: forwarded(forward) },
});

/** Do not use the cache. */
export const pass = (reason, forward = {}) => ({ tag: "pass", val: { reason, forward: forwarded(forward) } });

/** Answer now: `fields` is an object, `body` a string or an Uint8Array. */
export const answer = (status, fields = {}, body = "") => ({
  tag: "answer",
  val: { status, fields: Object.entries(fields), body: typeof body === "string" ? utf8(body) : body },
});

/** Store the response. What is left out is as without the policy. */
export const store = ({ ttlMs, staleWhileRevalidateMs, staleIfErrorMs, tags = [], remove, set } = {}) => ({
  tag: "store",
  val: { ttlMs, staleWhileRevalidateMs, staleIfErrorMs, tags, fields: changes(remove, set) },
});

export const doNotStore = (reason, { hitForMissMs, remove, set } = {}) => ({
  tag: "do-not-store",
  val: { reason, hitForMissMs, fields: changes(remove, set) },
});

function forwarded({ upstream, only, without, remove, set }) {
  let query = { tag: "unchanged" };
  if (only) query = { tag: "only", val: only };
  if (without) query = { tag: "without", val: without };
  return { upstream, query, fields: changes(remove, set) };
}

const changes = (remove = [], set = {}) => ({ remove, set: Object.entries(set) });

function utf8(text) {
  const escaped = encodeURIComponent(text);
  const bytes = [];
  for (let at = 0; at < escaped.length; at++) {
    if (escaped[at] === "%") {
      bytes.push(parseInt(escaped.slice(at + 1, at + 3), 16));
      at += 2;
    } else {
      bytes.push(escaped.charCodeAt(at));
    }
  }
  return new Uint8Array(bytes);
}
