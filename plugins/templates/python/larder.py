"""What a policy in Python is written with: the contract (`wit/plugin.wit`) in the shape of the language.

Part of the project; change it as you like.
"""

import json

from componentize_py_types import Err
from wit_world.exports import setup
from wit_world.imports import types

# A world has one of them or both.
try:
    from wit_world.exports import request_policy
except ImportError:
    request_policy = None
try:
    from wit_world.exports import response_policy
except ImportError:
    response_policy = None


class Inputs:
    """What a policy reads. What is left out is not passed."""

    def __init__(self, *, fields=(), parameters=(), cookies=(), captures=(), method=False, host=False, path=False,
                 query=False, time=False, decided=False, response_fields=(), ttl=False):
        self._declared = setup.Inputs(list(fields), list(parameters), list(cookies), list(captures), method, host,
                                      path, query, time, decided, list(response_fields), ttl)
        # In the order in which the values come.
        keys = [("field", name.lower()) for name in fields]
        keys += [("parameter", name) for name in parameters]
        keys += [("cookie", name) for name in cookies]
        keys += [("capture", name) for name in captures]
        wanted = {"method": method, "host": host, "path": path, "query": query, "time": time, "decided": decided}
        keys += [name for name, is_wanted in wanted.items() if is_wanted]
        self._request = {key: place for place, key in enumerate(keys)}
        keys = [("field", name.lower()) for name in response_fields] + (["ttl"] if ttl else [])
        self._response = {key: place for place, key in enumerate(keys)}


class Message:
    """A request or a response. What it does not have is None; what is not among the inputs is a KeyError."""

    def __init__(self, places, values, status=None):
        self._places = places
        self._values = values
        self.status = status

    def field(self, name):
        return self._values[self._places[("field", name.lower())]]

    def parameter(self, name):
        return self._values[self._places[("parameter", name)]]

    def cookie(self, name):
        return self._values[self._places[("cookie", name)]]

    def capture(self, name):
        return self._values[self._places[("capture", name)]]

    @property
    def method(self):
        return self._values[self._places["method"]]

    @property
    def host(self):
        return self._values[self._places["host"]]

    @property
    def path(self):
        return self._values[self._places["path"]]

    @property
    def query(self):
        return self._values[self._places["query"]]

    @property
    def time(self):
        """Seconds since 1970."""
        return int(self._values[self._places["time"]])

    @property
    def decided(self):
        """What the policies before this one decided: `look-up` or `pass`."""
        return self._values[self._places["decided"]]

    @property
    def ttl(self):
        """The lifetime that a response has so far, in milliseconds."""
        ttl = self._values[self._places["ttl"]]
        return None if ttl is None else int(ttl)


def look_up(*, key_parts=(), tags=(), **forward):
    """Look it up under a key with further parts. `forward`: upstream, only, without, remove, set."""
    decision = request_policy.LookUp(list(key_parts), list(tags), _forward(**forward))
    return request_policy.RequestDecision_LookUp(decision)


def pass_by(reason, **forward):
    """Do not use the cache."""
    return request_policy.RequestDecision_Pass(request_policy.Pass(reason, _forward(**forward)))


def answer(status, fields=None, body=""):
    """Answer now: `fields` is a dictionary, `body` a string or bytes."""
    body = body.encode() if isinstance(body, str) else body
    decision = request_policy.Answer(status, list((fields or {}).items()), body)
    return request_policy.RequestDecision_Answer(decision)


def store(*, ttl_ms=None, stale_while_revalidate_ms=None, stale_if_error_ms=None, tags=(), remove=(), set=None):
    """Store the response. What is left out is as without the policy."""
    decision = response_policy.Store(ttl_ms, stale_while_revalidate_ms, stale_if_error_ms, list(tags),
                                     _changes(remove, set))
    return response_policy.ResponseDecision_Store(decision)


def do_not_store(reason, *, hit_for_miss_ms=None, remove=(), set=None):
    decision = response_policy.DoNotStore(reason, hit_for_miss_ms, _changes(remove, set))
    return response_policy.ResponseDecision_DoNotStore(decision)


def _forward(*, upstream=None, only=None, without=None, remove=(), set=None):
    if only is not None:
        query = request_policy.QueryChange_Only(list(only))
    elif without is not None:
        query = request_policy.QueryChange_Without(list(without))
    else:
        query = request_policy.QueryChange_Unchanged()
    return request_policy.Forward(upstream, query, _changes(remove, set))


def _changes(remove, set):
    return types.FieldChanges(list(remove), list((set or {}).items()))


def policy(*, name, version, configure, schema=None, self_test=()):
    """The classes of a component: `Setup, RequestPolicy, ResponsePolicy = policy(...)`.

    `configure(settings)` answers an object with `inputs` and `on_request(request)`, `on_response(request, response)`,
    or raises ValueError, which says why it cannot work with the settings.
    """
    description = setup.Description(name, version, json.dumps(schema or {"type": "object"}),
                                    [json.dumps(test) for test in self_test])
    configured = None

    class Setup:
        def describe(self):
            return description

        def configure(self, settings):
            nonlocal configured
            try:
                configured = configure(json.loads(settings))
            except ValueError as error:
                raise Err(str(error)) from error
            return configured.inputs._declared

    class RequestPolicy:
        def on_request(self, values):
            return configured.on_request(Message(configured.inputs._request, values))

    class ResponsePolicy:
        def on_response(self, status, request_values, response_values):
            request = Message(configured.inputs._request, request_values)
            return configured.on_response(request, Message(configured.inputs._response, response_values, status))

    return Setup, RequestPolicy, ResponsePolicy
