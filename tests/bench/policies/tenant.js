// `plugins/tenant-key` in JavaScript, without its response side. Takes the place of `policy.js` in what
// `larder policy new --lang js` makes.

import { lookUp, pass, policy, store } from "./larder.js";
import logic from "./key.js";

export const { setup, requestPolicy, responsePolicy } = policy({
  name: "tenant-js",
  version: "1.0.0",
  schema: {
    type: "object",
    additionalProperties: false,
    properties: { languages: { type: "array", items: { type: "string" } } },
  },

  configure({ languages = [] }) {
    return {
      inputs: { fields: ["x-tenant", "accept-language"] },

      onRequest(request) {
        const tenant = logic.tenantPart(request.field("x-tenant"));
        if (tenant === null) return pass("not a tenant's name");
        const language = logic.preferred(request.field("accept-language"), languages);
        return lookUp({ keyParts: [tenant, language], tags: tenant === "anonymous" ? [] : [tenant] });
      },

      onResponse: () => store(),
    };
  },
});
