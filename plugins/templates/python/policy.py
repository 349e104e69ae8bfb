"""One stored response for each currency that is offered, and a short life for prices."""

from larder import Inputs, look_up, pass_by, policy, store


class PerCurrency:
    # What is not named here is not passed.
    inputs = Inputs(cookies=["currency"], response_fields=["x-kind"])

    def __init__(self, settings):
        self.offered = settings.get("offered", ["EUR", "USD"])
        self.price_ttl_ms = settings.get("price_ttl_ms", 5000)
        if not self.offered:
            raise ValueError("offered: names no currency")

    def on_request(self, request):
        currency = request.cookie("currency")
        if currency is None:
            currency = self.offered[0]
        # From a closed set: what a client can make up must not fill the cache.
        if currency not in self.offered:
            return pass_by("a currency of the client's own")
        return look_up(key_parts=[currency])

    def on_response(self, request, response):
        if response.field("x-kind") == "price":
            return store(ttl_ms=self.price_ttl_ms, tags=["prices"])
        return store()


Setup, RequestPolicy, ResponsePolicy = policy(
    name="per-currency",
    version="1.0.0",
    configure=PerCurrency,
    # Checked before `configure` is asked.
    schema={
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "offered": {
                "type": "array",
                "items": {"type": "string"},
                "description": "currencies; the first for who has none",
            },
            "price_ttl_ms": {
                "type": "integer",
                "minimum": 0,
                "description": "lifetime of responses with `x-kind: price`",
            },
        },
    },
)
