"""Headers on every answer, whatever its status (spec 01 §7)."""

import re

import pytest

from harness.together import together


def every_status(tenant):
    """One call for each status that this part can be made to answer."""
    call = tenant.caller
    chat = lambda **values: tenant.chat(script=values.pop("script", {"text": "a"}), **values)  # noqa: E731
    return {
        200: lambda: chat(), 400: lambda: chat(temperature=9), 401: lambda: call.get("/v1/models", key=None), 404: lambda: call.get("/v1/no"),
        405: lambda: call.get("/v1/chat/completions"), 413: lambda: call.call("POST", "/v1/chat/completions", content=b" " * (21 << 20), headers={"Content-Type": "application/json"}),
        415: lambda: call.call("POST", "/v1/chat/completions", content=b"x", headers={"Content-Type": "text/plain"}),
        429: lambda: chat(script={"status": 429}), 431: lambda: call.get("/v1/models", headers={"X-Large": "x" * 17_000}), 502: lambda: chat(script={"status": 401}),
    }


@pytest.mark.parametrize("status", [200, 400, 401, 404, 405, 413, 415, 429, 431, 502])
def test_every_status_has_a_request_id_of_its_own(tenant, engine, status):
    found = [every_status(tenant)[status]() for _ in range(2)]
    assert [answer.status_code for answer in found] == [status] * 2
    assert found[0].headers["x-request-id"] != found[1].headers["x-request-id"]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/talk", "/v1/chat/completions", "/healthz", "/readyz"])
@pytest.mark.parametrize("key", ["own", None, "xero_bad_" + "x" * 43], ids=["good", "no", "bad"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_every_route_has_a_request_id_whatever_the_credentials(tenant, path, key, method):
    tenant.caller.call(method, path, key=key, schema="none")


def test_security_headers_are_on_every_answer(tenant, engine):
    for answer in (tenant.chat(script={"text": "a"}), tenant.caller.get("/v1/no")):
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_inference_tells_where_it_ran(tenant, engine):
    for headers in (tenant.chat(script={"text": "a"}).headers, tenant.stream(script={"text": "a"}).headers):
        assert headers["x-xerotier-worker-id"] == f"upstream:{tenant.endpoint.id}"
        assert re.fullmatch(r"\d+\.\d{3}", headers["x-xerotier-router-ms"])
        assert headers["x-xerotier-routed-model"] == tenant.endpoint.model
        assert headers["x-xerotier-routed-endpoint"] == "talk"
        assert headers["x-xerotier-model-version"]


def test_every_inference_answer_shows_the_limits(tenant, engine):
    answers = [tenant.chat(script={"text": "a"}), tenant.chat(script={"status": 429})]
    for answer in answers:
        for name in ("limit", "remaining", "reset"):
            for kind in ("", "-requests", "-tokens"):
                assert re.fullmatch(r"\d+", answer.headers[f"x-ratelimit-{name}{kind}"])


def test_a_clients_request_id_is_logged_but_never_taken(tenant, engine):
    answer = tenant.chat(script={"text": "a"}, headers={"X-Request-ID": "client-id-0001"})
    assert answer.headers["x-request-id"].startswith("req_")
    assert engine.records("client-id-0001") == []


@pytest.mark.parametrize("value", ["x", "a" * 65, "with space", "ünïcode", "req_" + "0" * 24, "a\tb"])
def test_a_strange_request_id_of_a_client_does_no_harm(tenant, engine, value):
    answer = tenant.chat(script={"text": "a"}, headers={"X-Request-ID": value.encode()})
    assert answer.status_code == 200
    assert answer.headers["x-request-id"] != value


def test_the_id_finds_exactly_one_row(tenant, engine, usage):
    answers = together(20, lambda number: tenant.chat(script={"text": "a"}), threads=8)
    for answer in answers:
        usage.one(answer.headers["x-request-id"])


def test_the_id_finds_exactly_one_line_in_the_access_log(stack, tenant, engine):
    """Good, refused and unknown requests alike; and no line holds a prompt, an answer or a key."""
    from harness.logs import access_log_lines
    from harness.together import eventually

    marker = "marker-of-a-prompt-7f3a"
    answers = [tenant.chat(marker), tenant.chat(script={"text": marker}), tenant.chat(marker, temperature=9), tenant.caller.get("/v1/models"), tenant.caller.get("/v1/models", key=None), tenant.caller.get("/v1/no-such-thing")]
    for answer in answers:
        lines = eventually(lambda: access_log_lines(stack, answer.headers["x-request-id"]), seconds=3)
        assert len(lines) == 1, lines
        assert marker not in lines[0] and tenant.key.key not in lines[0]


@pytest.mark.parametrize("headers", [{"OpenAI-Organization": "org"}, {"OpenAI-Project": "p"}, {"OpenAI-Beta": "x"}, {"X-Xerotier-Prefix-Cache": "off"}, {"X-Stainless-Lang": "python"}])
def test_headers_of_the_sdk_are_accepted(tenant, engine, headers):
    assert tenant.chat(script={"text": "a"}, headers=headers).status_code == 200


def test_the_engine_gets_the_request_id_of_the_answer(tenant, engine):
    answer = tenant.chat(script={"text": "a"})
    assert engine.record(answer.headers["x-request-id"])["headers"]["x-request-id"] == answer.headers["x-request-id"]
