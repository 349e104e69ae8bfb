// nginx: `js_set $key njs.key`. Empty for a name that is no tenant's, which nginx then takes past its cache.

import logic from "key.js";

const OFFERED = ["en", "de"];

function key(request) {
  const tenant = logic.tenantPart(request.headersIn["x-tenant"]);
  if (tenant === null) return "";
  return tenant + "," + logic.preferred(request.headersIn["accept-language"], OFFERED);
}

export default { key };
