// One stored response for each currency that is offered, and a short life for prices.

import { lookUp, pass, policy, store } from "./larder.js";

export const { setup, requestPolicy, responsePolicy } = policy({
  name: "per-currency",
  version: "1.0.0",
  // Checked before `configure` is asked.
  schema: {
    type: "object",
    additionalProperties: false,
    properties: {
      offered: { type: "array", items: { type: "string" }, description: "currencies; the first for who has none" },
      price_ttl_ms: { type: "integer", minimum: 0, description: "lifetime of responses with `x-kind: price`" },
    },
  },

  configure({ offered = ["EUR", "USD"], price_ttl_ms = 5000 }) {
    if (offered.length === 0) throw new Error("offered: names no currency");
    return {
      // What is not named here is not passed.
      inputs: { cookies: ["currency"], responseFields: ["x-kind"] },

      onRequest(request) {
        const currency = request.cookie("currency") ?? offered[0];
        // From a closed set: what a client can make up must not fill the cache.
        if (!offered.includes(currency)) return pass("a currency of the client's own");
        return lookUp({ keyParts: [currency] });
      },

      onResponse(request, response) {
        if (response.field("x-kind") === "price") return store({ ttlMs: price_ttl_ms, tags: ["prices"] });
        return store();
      },
    };
  },
});
