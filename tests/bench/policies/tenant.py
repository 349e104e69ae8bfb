"""`plugins/tenant-key` in Python, without its response side. Takes the place of `policy.py` in what
`larder policy new --lang python` makes."""

import re

from larder import Inputs, look_up, pass_by, policy, store

# As in the policy: a tenant's name could stand in a tag.
TENANT = re.compile(r"[!-+\--~]{1,128}")


def tenant_part(tenant):
    """The tenant's part of the key; None for a name that is none."""
    name = (tenant or "").strip()
    if not name:
        return "anonymous"
    return f"tenant:{name}" if TENANT.fullmatch(name) else None


def preferred(accepted, offered):
    """The offered language that the client likes best; the first one named wins among equals."""
    ranges = [weighed(text) for text in (accepted or "").split(",")]
    best, best_weight = "*", 0
    for primary, weight in ranges:
        if weight <= best_weight:
            continue
        if primary == "*":
            found = next((one for one in offered if all(one != other for other, _ in ranges)), None)
        else:
            found = primary if primary in offered else None
        if found is not None:
            best, best_weight = found, weight
    return best


def weighed(text):
    tag, *parameters = text.split(";")
    primary = tag.strip().split("-")[0].lower()
    for parameter in parameters:
        name, _, value = parameter.strip().lower().partition("=")
        if name == "q":
            try:
                weight = float(value)
            except ValueError:
                weight = 0
            return primary, weight if 0 <= weight <= 1 else 0
    return primary, 1


class Tenant:
    inputs = Inputs(fields=["x-tenant", "accept-language"])

    def __init__(self, settings):
        self.languages = settings.get("languages", [])

    def on_request(self, request):
        tenant = tenant_part(request.field("x-tenant"))
        if tenant is None:
            return pass_by("not a tenant's name")
        language = preferred(request.field("accept-language"), self.languages)
        return look_up(key_parts=[tenant, language], tags=[] if tenant == "anonymous" else [tenant])

    def on_response(self, request, response):
        return store()


Setup, RequestPolicy, ResponsePolicy = policy(
    name="tenant-py",
    version="1.0.0",
    configure=Tenant,
    schema={
        "type": "object",
        "additionalProperties": False,
        "properties": {"languages": {"type": "array", "items": {"type": "string"}}},
    },
)
