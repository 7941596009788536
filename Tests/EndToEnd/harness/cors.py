"""What browsers are told (spec 08 §3)."""

import json

import httpx

ALLOW = "access-control-allow-"
FIVE = {ALLOW + "origin", ALLOW + "methods", ALLOW + "headers", ALLOW + "credentials", "access-control-max-age"}
EXPOSED = {
    "X-Request-ID", "X-Xerotier-Worker-ID", "X-Xerotier-Router-Ms", "Retry-After", "X-Should-Retry", "Idempotent-Replayed",
    *(f"X-RateLimit-{name}{kind}" for name in ("Limit", "Remaining", "Reset") for kind in ("", "-Requests", "-Tokens")),
}


def cors_headers(answer: httpx.Response) -> dict:
    """Each header for browsers, by its name in lower case. None stands twice, and none of those between the gateway and nginx gets out."""
    names = [name.decode().lower() for name, _ in answer.headers.raw]
    found = {name: answer.headers[name] for name in names if name.startswith("access-control-")}
    assert len(found) == sum(name.startswith("access-control-") for name in names), names
    assert not [name for name in names if name.startswith("x-cors")], names
    assert names.count("vary") == 1 and answer.headers["vary"] == "Origin", answer.headers
    return found


def readable_by(origin: str, answer: httpx.Response, credentials: bool = True):
    """The answer may be read by pages of this origin."""
    found = cors_headers(answer)
    assert found.pop(ALLOW + "origin") == origin
    assert found.pop(ALLOW + "credentials", None) == ("true" if credentials else None)
    assert set(found.pop("access-control-expose-headers").split(", ")) == EXPOSED
    assert found == {}


def readable_by_none(answer: httpx.Response):
    assert cors_headers(answer) == {}


def preflight(caller, path: str, origin: str, method: str | None = "POST", headers: str | None = "authorization,content-type") -> httpx.Response:
    asked = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return caller.call("OPTIONS", path, key=None, headers={name: value for name, value in asked.items() if value is not None})


def put_policy(caller, endpoint: str, policy, **values) -> httpx.Response:
    return caller.send("PUT", f"/v1/endpoints/{endpoint}/cors", policy, **values)


def set_policy(caller, endpoint: str, policy: dict):
    answer = put_policy(caller, endpoint, policy)
    assert answer.status_code == 200, answer.text


def shown(answer: httpx.Response) -> dict:
    """The policy in an answer, whose members are exactly these."""
    assert answer.status_code == 200, answer.text
    policy = json.loads(answer.text)
    assert set(policy) == {"allow_origins", "allow_methods", "allow_headers", "max_age", "allow_credentials"}, policy
    return policy
