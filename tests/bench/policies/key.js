// The key logic of `plugins/tenant-key` in JavaScript: for nginx's njs and for Larder's own policy alike, so that both do
// the same. Nothing newer than njs 0.7 knows.

// As in the policy: a tenant's name could stand in a tag.
const TENANT = /^[!-+\--~]{1,128}$/;

/** The tenant's part of the key; null for a name that is none. */
function tenantPart(tenant) {
  const name = (tenant || "").trim();
  if (name === "") return "anonymous";
  return TENANT.test(name) ? "tenant:" + name : null;
}

/** The offered language that the client likes best; the first one named wins among equals. */
function preferred(accepted, offered) {
  const ranges = (accepted || "").split(",").map(weighed);
  let best = "*";
  let bestWeight = 0;
  for (let at = 0; at < ranges.length; at++) {
    const range = ranges[at];
    if (range.weight <= bestWeight) continue;
    let found;
    if (range.primary === "*") {
      found = offered.find((language) => !ranges.some((other) => other.primary === language));
    } else if (offered.includes(range.primary)) {
      found = range.primary;
    }
    if (found !== undefined) {
      best = found;
      bestWeight = range.weight;
    }
  }
  return best;
}

function weighed(range) {
  const parts = range.split(";");
  const primary = parts[0].trim().split("-")[0].toLowerCase();
  for (let at = 1; at < parts.length; at++) {
    const part = parts[at].trim().toLowerCase();
    if (part.startsWith("q=")) {
      const weight = Number(part.slice(2));
      return { primary: primary, weight: weight >= 0 && weight <= 1 ? weight : 0 };
    }
  }
  return { primary: primary, weight: 1 };
}

export default { tenantPart, preferred };
