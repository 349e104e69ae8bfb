"""Known crawlers get stored responses of their own, with a longer life; some are turned away. See README.md."""

from larder import Inputs, answer, look_up, policy, store

KNOWN = ["Googlebot", "bingbot", "DuckDuckBot", "Applebot", "YandexBot", "Baiduspider"]


class Crawlers:
    inputs = Inputs(fields=["user-agent"])

    def __init__(self, settings):
        self.known = [name.lower() for name in settings.get("known", KNOWN)]
        self.refused = [name.lower() for name in settings.get("refused", [])]
        self.retry_after = settings.get("retry_after_s")
        self.upstream = settings.get("upstream")
        self.ttl_ms = settings.get("ttl_ms")
        self.stale_ms = settings.get("stale_ms")
        for setting, names in (("known", self.known), ("refused", self.refused)):
            # The empty text is a part of every user agent.
            if "" in names:
                raise ValueError(f"{setting}: an empty name")

    def is_crawler(self, request):
        agent = (request.field("user-agent") or "").lower()
        return any(name in agent for name in self.known)

    def on_request(self, request):
        agent = (request.field("user-agent") or "").lower()
        if any(name in agent for name in self.refused):
            if self.retry_after is None:
                return answer(403, {"content-type": "text/plain"}, "crawlers like this one are not served here\n")
            return answer(429, {"content-type": "text/plain", "retry-after": str(self.retry_after)}, "later\n")
        if self.is_crawler(request):
            # One key for all of them: a name of the client's own must not fill the cache.
            return look_up(key_parts=["crawler"], tags=["crawler"], upstream=self.upstream)
        return look_up()

    def on_response(self, request, response):
        # An error is not to live longer because a crawler met it.
        if response.status == 200 and self.is_crawler(request):
            return store(ttl_ms=self.ttl_ms, stale_while_revalidate_ms=self.stale_ms,
                         stale_if_error_ms=self.stale_ms)
        return store()


def names(description, default):
    return {"type": "array", "items": {"type": "string"}, "description": description, "default": default}


Setup, RequestPolicy, ResponsePolicy = policy(
    name="crawlers",
    version="1.0.0",
    configure=Crawlers,
    schema={
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "known": names("crawlers, by a part of their user agent in any case", KNOWN),
            "refused": names("crawlers that are turned away", []),
            "retry_after_s": {"type": "integer", "minimum": 1,
                              "description": "turn them away with 429 and this Retry-After, in place of 403"},
            "upstream": {"type": "string", "description": "one of the route's upstreams, for the known ones"},
            "ttl_ms": {"type": "integer", "minimum": 0, "description": "lifetime of what known ones get with 200"},
            "stale_ms": {"type": "integer", "minimum": 0,
                         "description": "how long they may get it stale, while it is refreshed and after errors"},
        },
    },
)
