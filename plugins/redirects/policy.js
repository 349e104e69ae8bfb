// Sends a client on to the host or the path of its country. What it does: README.md.

import { answer, lookUp, policy } from "../templates/js/larder.js";

const ONE_COUNTRY = /^[A-Z]{2}$/;
const HOST = /^[a-z0-9.-]+(:[0-9]+)?$/;
// A second slash at the beginning would make a host of what follows.
const PREFIX = /^(\/[A-Za-z0-9._~-]+)+$/;

export const { setup, requestPolicy } = policy({
  name: "redirects",
  version: "1.0.0",
  schema: {
    type: "object",
    additionalProperties: false,
    required: ["to"],
    properties: {
      field: { type: "string", description: "the request field with the country, set by what stands in front", default: "x-country" },
      status: { enum: [302, 307, 308], default: 302 },
      to: {
        type: "object",
        description: "where to, by country as two capital letters",
        additionalProperties: {
          type: "object",
          additionalProperties: false,
          properties: {
            host: { type: "string", description: "with a port if it is not 443 (or 80 for http)" },
            scheme: { enum: ["https", "http"], default: "https" },
            prefix: { type: "string", description: "put in front of the path" },
          },
        },
      },
      except: { type: "array", items: { type: "string" }, description: "paths that begin so stay", default: [] },
      stay_cookie: { type: "string", description: "whoever has this cookie stays" },
    },
  },

  configure({ field = "x-country", status = 302, to, except = [], stay_cookie }) {
    const targets = new Map();
    for (const [country, { host, scheme = "https", prefix = "" }] of Object.entries(to)) {
      if (!ONE_COUNTRY.test(country)) throw new Error(`to: ${country} is not a country as two capital letters`);
      if (host === undefined && prefix === "") throw new Error(`to.${country}: says neither host nor prefix`);
      if (host !== undefined && !HOST.test(host)) throw new Error(`to.${country}.host: ${host} is not a host in small letters`);
      if (prefix !== "" && !PREFIX.test(prefix)) throw new Error(`to.${country}.prefix: ${prefix} is not as in /de`);
      targets.set(country, { host, prefix, origin: host === undefined ? "" : `${scheme}://${host}` });
    }
    const prefixes = [...targets.values()].map(({ prefix }) => prefix).filter((prefix) => prefix !== "");
    return {
      inputs: {
        fields: [field],
        cookies: stay_cookie === undefined ? [] : [stay_cookie],
        method: true,
        host: true,
        path: true,
        query: true,
      },

      onRequest(request) {
        const country = request.field(field)?.trim().toUpperCase();
        // Only what stands in the settings can be sent to: what a client makes up stays here.
        const target = targets.get(country);
        if (target === undefined) return lookUp();
        if (stay_cookie !== undefined && request.cookie(stay_cookie) !== undefined) return lookUp();
        // A client may turn a POST into a GET at a 302.
        const { method, path, query } = request;
        if (status === 302 && method !== "GET" && method !== "HEAD") return lookUp();
        if (except.some((start) => path.startsWith(start))) return lookUp();
        const isThere = target.host === undefined || request.host === target.host;
        const hasPrefix = target.prefix === "" || path === target.prefix || path.startsWith(`${target.prefix}/`);
        if (isThere && hasPrefix) return lookUp();
        // A link into another country's pages on the same host was chosen by somebody.
        const isElsewhere = (prefix) => path === prefix || path.startsWith(`${prefix}/`);
        if (target.host === undefined && prefixes.some(isElsewhere)) return lookUp();
        const location = target.origin + (hasPrefix ? "" : target.prefix) + path + (query === undefined ? "" : `?${query}`);
        // It is for this client alone, and its country may change.
        return answer(status, { location, "cache-control": "no-store" });
      },
    };
  },
});
