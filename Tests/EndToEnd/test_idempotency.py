"""Idempotency-Key on every POST (spec 04 §9): one effect, one bill, the same answer again."""

import json
import secrets

import openai
import pytest
from test_agents import Host

from harness.calls import Caller, expect_error, messages, script
from harness.processes import list_routes
from harness.raw import RawCall
from harness.tenants import Project
from harness.webhooks import emit
from harness.together import eventually, together

CHAT = "/v1/chat/completions"
KEYS = "/v1/management/api-keys"
HEADER = "Idempotency-Key"


def key() -> dict:
    return {HEADER: f"test-{secrets.token_hex(8)}"}


@pytest.fixture(scope="module")
def shop(make_tenant):
    """A project of its own."""
    return make_tenant(slug="shop")


@pytest.fixture(scope="module")
def admin(shop, stack) -> Caller:
    return Caller(stack.origin, shop.project.key("management").key)


def chats(usage, shop) -> int:
    return len(usage.of_project(shop.project.id))


def held_keys(usage, shop) -> int:
    """How many calls of the project hold their key now."""
    held = "SELECT 1 FROM idempotency_keys WHERE project_id = %s AND status IS NULL"
    return len(usage.query(held, shop.project.id))


def is_replay(answer) -> bool:
    return answer.headers.get("idempotent-replayed") == "true"


def check_replay(first, second):
    assert not is_replay(first) and is_replay(second)
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert second.headers["x-request-id"] == first.headers["x-request-id"]
    assert second.headers["content-type"] == first.headers["content-type"]


# Chat


def test_a_chat_is_answered_once_and_billed_once(shop, usage, engine):
    engine.control("DELETE", "/__records")
    header, before = key(), chats(usage, shop)
    first, second = (shop.chat("hi", headers=header) for _ in range(2))
    assert first.status_code == 200
    check_replay(first, second)
    assert len(engine.records()) == 1 and chats(usage, shop) == before + 1
    # What was left of a limit when it was answered says nothing now; the rest is as it was.
    assert "x-ratelimit-limit" not in second.headers and "x-ratelimit-limit" in first.headers
    assert second.headers["x-xerotier-worker-id"] == first.headers["x-xerotier-worker-id"]


def test_without_the_header_a_chat_runs_twice(shop, usage):
    before = chats(usage, shop)
    answers = [shop.chat("hi") for _ in range(2)]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 2 and not any(map(is_replay, answers))
    assert chats(usage, shop) == before + 2


STREAMS = {
    "text": {"text": "one two three four five"},
    "thoughts": {"reasoning": ["Hm", "m."], "text": "Yes it is."},
    "tools": {"tool_calls": [{"name": "weather", "arguments": "{\"city\":\"Bern\"}", "pieces": 4}]},
}


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("events", ["off", "on"])
def test_a_stream_is_replayed_as_one_stream_of_the_same_content(shop, usage, name, events):
    header, before = key() | {"X-Xerotier-Events": events}, chats(usage, shop)
    values = {"script": STREAMS[name], "stream_options": {"include_usage": True}}
    first, second = (shop.stream(headers=header, **values) for _ in range(2))
    assert first.is_done and second.is_done
    assert said(first) == said(second)
    assert first.chunks[-1]["usage"] == second.chunks[-1]["usage"]
    assert {chunk["id"] for chunk in first.chunks} == {chunk["id"] for chunk in second.chunks}
    assert len(second.chunks) < len(first.chunks)
    assert not is_replay(first) and is_replay(second)
    assert second.request_id == first.request_id
    assert chats(usage, shop) == before + 1


def said(stream) -> dict:
    """All that the chunks of each choice add up to, and the order in which they say it."""
    found = {}
    for chunk in stream.chunks:
        for choice in chunk["choices"]:
            parts = found.setdefault(choice["index"], [])
            for name, value in choice["delta"].items():
                if name == "tool_calls":
                    for call in value:
                        function = call.get("function", {})
                        add(parts, ("call", call["index"], call.get("id"), function.get("name")), function.get("arguments", ""))
                else:
                    add(parts, name, value)
            if choice["finish_reason"]:
                parts.append(("finish", choice["finish_reason"]))
    return found


def add(parts: list, name, value):
    if parts and parts[-1][0] == name and isinstance(value, str):
        parts[-1] = (name, parts[-1][1] + value)
    else:
        parts.append((name, value))


def test_a_stream_that_ended_in_an_error_runs_again(shop, usage):
    header, before = key(), chats(usage, shop)
    cut = {"text": "one two three", "cut": {"how": "reset", "after_chunks": 2}}
    first, second = (shop.stream(script=cut, headers=header) for _ in range(2))
    for stream in (first, second):
        assert stream.error and not stream.is_done and not is_replay(stream)
    assert first.request_id != second.request_id
    assert chats(usage, shop) == before + 2


def test_a_client_that_left_gets_the_finished_stream_when_it_asks_again(shop, stack, usage, engine):
    header, before = key(), chats(usage, shop)
    body = shop.body(script={"text": "one two three four five six", "delay_ms": 150}, stream=True)
    raw = RawCall(stack.http_address)
    raw.post_json(CHAT, body, shop.key.key, f"{HEADER}: {header[HEADER]}\r\n").read_until(b"one")
    request_id = raw.header("x-request-id")
    raw.close()
    expect_error(shop.caller.post(CHAT, body, headers=header), 409, "idempotency_in_progress", param=HEADER)
    eventually(lambda: usage.of(request_id))
    again = shop.caller.stream(CHAT, body, headers=header)
    assert again.is_done and is_replay(again) and again.request_id == request_id
    assert "one two three four five six" in json.dumps(said(again))
    row = usage.one(request_id)
    assert row["status_code"] == 200 and row["finish_reason"] == "stop"
    assert chats(usage, shop) == before + 1


def test_a_client_that_left_gets_the_finished_answer_when_it_asks_again(shop, stack, usage):
    header = key()
    body = shop.body(script={"text": "slow but sure", "delay_ms": 500, "first_delay_ms": 500})
    raw = RawCall(stack.http_address)
    raw.post_json(CHAT, body, shop.key.key, f"{HEADER}: {header[HEADER]}\r\n")
    # Asking before the first call holds the key would make that one the copy.
    eventually(lambda: held_keys(usage, shop) == 1)
    expect_error(shop.caller.post(CHAT, body, headers=header), 409, "idempotency_in_progress", param=HEADER)
    raw.close()
    answer = eventually(lambda: (again := shop.caller.post(CHAT, body, headers=header)).status_code == 200 and again)
    assert is_replay(answer) and answer.json()["choices"][0]["message"]["content"] == "slow but sure"
    assert len(usage.of(answer.headers["x-request-id"])) == 1


def test_while_it_runs_the_same_request_is_in_progress(shop):
    header = key()
    body = shop.body(script={"text": "x", "first_delay_ms": 700})
    answers = together(4, lambda number: shop.caller.post(CHAT, body, headers=header))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    for answer in answers:
        if answer.status_code == 409:
            expect_error(answer, 409, "idempotency_in_progress", param=HEADER)
            assert answer.headers["retry-after"] == "1" and "x-should-retry" not in answer.headers


def test_another_body_is_a_conflict(shop, usage):
    header, before = key(), chats(usage, shop)
    assert shop.chat("hi", headers=header).status_code == 200
    answer = shop.chat("ho", headers=header)
    expect_error(answer, 409, "idempotency_conflict", param=HEADER)
    assert answer.headers["x-should-retry"] == "false"
    # Not even spaces may differ.
    body = json.dumps(shop.body("hi")).replace('": ', '":')
    assert json.loads(body) == shop.body("hi")
    expect_error(shop.chat_raw(body.encode(), headers=header), 409, "idempotency_conflict")
    assert chats(usage, shop) == before + 1


@pytest.mark.parametrize("streamed", [False, True], ids=["body", "stream"])
def test_an_error_of_the_client_is_stored(shop, engine, streamed):
    """Known only after the engine was asked."""
    header, refused = key(), {"status": 400, "error": {"message": "top_k is bad", "type": "x", "code": 1}}
    first, second = (shop.chat(script=refused, stream=streamed, headers=header) for _ in range(2))
    expect_error(first, 400, "invalid_request")
    check_replay(first, second)
    assert len(engine.records(first.headers["x-request-id"])) == 1


def test_what_breaks_the_schema_takes_no_key(shop):
    header = key()
    expect_error(shop.chat("hi", temperature=9, headers=header), 400, "invalid_value", param="temperature")
    assert shop.chat("hi", headers=header).status_code == 200
    # And it is found before the key is looked at.
    expect_error(shop.chat("hi", temperature=9, headers=header), 400, "invalid_value", param="temperature")
    expect_error(shop.chat("hi", temperature=9, headers={HEADER: ""}), 400, "invalid_value", param="temperature")


def test_a_refusal_for_want_of_credit_is_stored(make_tenant):
    poor = make_tenant(Project.create("poor", credit=None), slug="poor")
    header = key()
    first, second = (poor.chat("hi", headers=header) for _ in range(2))
    expect_error(first, 402, "insufficient_credits")
    check_replay(first, second)


@pytest.mark.parametrize("status", [500, 503, 429])
def test_an_error_of_the_engine_gives_the_key_back(shop, usage, status):
    header = key()
    answers = [shop.chat(script={"status": status}, headers=header) for _ in range(2)]
    assert {answer.status_code for answer in answers} <= {429, 502, 503}
    assert len({answer.headers["x-request-id"] for answer in answers}) == 2 and not any(map(is_replay, answers))


def test_a_refusal_for_its_rate_gives_the_key_back(make_tenant):
    free = make_tenant(tier="free", slug="small")
    header = key()
    limited = eventually(lambda: (answer := free.chat("hi", max_tokens=1)).status_code == 429 and answer, seconds=30, every=0)
    expect_error(limited, 429, "rate_limit_exceeded")
    expect_error(free.chat("hi", max_tokens=1, headers=header), 429, "rate_limit_exceeded")
    answer = eventually(lambda: (again := free.chat("hi", max_tokens=1, headers=header)).status_code == 200 and again, seconds=10, every=0.3)
    assert not is_replay(answer)


@pytest.mark.parametrize("streamed", [False, True], ids=["body", "stream"])
def test_a_large_answer_is_kept_in_the_store_and_replayed_from_there(shop, usage, streamed):
    header, said_by_engine = key(), {"tokens": ["0123456789" * 100], "repeat": 2000}
    if streamed:
        first, second = (shop.stream(script=said_by_engine, headers=header) for _ in range(2))
        assert said(first) == said(second) and is_replay(second) and len(second.chunks) == 3
    else:
        first, second = (shop.chat(script=said_by_engine, headers=header) for _ in range(2))
        check_replay(first, second)
    request = second.headers["x-request-id"]
    assert usage.query("SELECT octet_length(answer) AS size FROM idempotency_keys WHERE request_id = %s", request)[0]["size"] < 1_000
    kept = usage.query("SELECT bytes FROM objects WHERE key = %s AND state = 'stored'", f"{shop.project.id}/answer/{request}")
    assert len(kept) == 1 and int(kept[0]["bytes"]) > 2_000_000


# The key's place


@pytest.mark.parametrize("text", ["a" * 255, "x", "with space ~!", '{"json": 1}'])
def test_printable_ascii_is_a_key(shop, text):
    header = {HEADER: text + secrets.token_hex(8)[: max(0, 255 - len(text))]}
    answers = [shop.chat("hi", headers=header) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200] and is_replay(answers[1])


@pytest.mark.parametrize("text", [b"a" * 256, b"a\x01b", b"a\tb", b"a\x7fb", "é".encode(), b"\xff", b"a" * 4000])
@pytest.mark.parametrize("path", [CHAT, KEYS])
def test_a_bad_key_is_refused_by_name(shop, admin, stack, usage, text, path):
    before = usage.query("SELECT count(*) AS n FROM api_keys WHERE project_id = %s", shop.project.id)[0]["n"] + chats(usage, shop)
    content = json.dumps(shop.body("hi") if path == CHAT else {"name": "n", "scopes": ["inference"]}).encode()
    bearer = shop.key.key if path == CHAT else admin.key
    call = RawCall(stack.http_address)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {bearer}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    call.send(head.encode() + HEADER.encode() + b": " + text + b"\r\n\r\n" + content).read_until(b"}}")
    call.close()
    error = json.loads(call.received.split(b"\r\n\r\n", 1)[1])["error"]
    assert (call.status, error["code"], error["param"]) == (400, "invalid_value", HEADER)
    after = usage.query("SELECT count(*) AS n FROM api_keys WHERE project_id = %s", shop.project.id)[0]["n"] + chats(usage, shop)
    assert after == before


def test_an_empty_key_is_refused(shop):
    expect_error(shop.chat("hi", headers={HEADER: ""}), 400, "invalid_value", param=HEADER)


def test_other_keys_projects_and_paths_are_apart(shop, make_tenant, usage):
    header = key()
    other = make_tenant(slug="shop")
    calls = [
        lambda: shop.chat("hi", headers=header),
        lambda: shop.using(key=shop.project.key()).chat("hi", headers=header),
        lambda: other.chat("hi", headers=header),
        lambda: shop.chat("hi", headers=header, path=f"/{shop.project.slug}/v1/chat/completions"),
        lambda: shop.chat("hi", headers=header, path=f"/{shop.project.slug}/shop/v1/chat/completions"),
    ]
    answers = [call() for call in calls]
    assert {answer.status_code for answer in answers} == {200} and not any(map(is_replay, answers))
    assert len({answer.headers["x-request-id"] for answer in answers}) == len(calls)


def test_on_a_get_the_header_says_nothing(shop):
    header = {HEADER: "x" * 300}
    for _ in range(2):
        answer = shop.caller.get("/v1/models", headers=header)
        assert answer.status_code == 200 and not is_replay(answer)


# Management


def test_a_key_is_made_once_and_shown_again_to_who_asks_again(admin, usage, shop):
    header, body = key(), {"name": "once", "scopes": ["inference"]}
    first, second = (admin.send("POST", KEYS, body, headers=header) for _ in range(2))
    assert first.status_code == 201
    check_replay(first, second)
    rows = usage.query("SELECT id FROM api_keys WHERE project_id = %s AND name = 'once'", shop.project.id)
    assert [row["id"] for row in rows] == [first.json()["id"]]
    assert shop.caller.post(CHAT, shop.body("hi"), key=second.json()["key"]).status_code == 200
    audits = usage.query("SELECT 1 FROM audit_log WHERE target_id = %s", first.json()["id"])
    assert len(audits) == 1


def test_a_key_is_rotated_once(admin, usage):
    made = admin.send("POST", KEYS, {"name": "turn", "scopes": ["inference"]}).json()
    header, path = key(), f"{KEYS}/{made['id']}/rotate"
    first, second = (admin.send("POST", path, {"grace_seconds": 60}, headers=header) for _ in range(2))
    assert first.status_code == 200 and first.json()["key"] != made["key"]
    check_replay(first, second)
    assert len(usage.query("SELECT 1 FROM audit_log WHERE target_id = %s AND action = 'key.rotate'", made["id"])) == 1


def test_a_refused_write_is_stored(admin):
    header = key()
    answers = [admin.send("POST", f"{KEYS}/key_{'0' * 24}/rotate", {"grace_seconds": 60}, headers=header) for _ in range(2)]
    expect_error(answers[0], 404, "key_not_found")
    check_replay(*answers)


def test_the_answers_are_sealed(admin, usage):
    header = key()
    made = admin.send("POST", KEYS, {"name": "sealed", "scopes": ["inference"]}, headers=header).json()
    rows = usage.query("SELECT i::text AS text, answer FROM idempotency_keys i")
    assert any(row["answer"] for row in rows)
    for row in rows:
        for secret in (made["key"], header[HEADER], "sealed"):
            assert secret not in row["text"] and secret.encode() not in bytes(row["answer"] or b"")


# Every POST


def one_of_each_webhook_route(admin, usage, project) -> dict:
    """Under both names; a host that is none is called in vain, which is an answer, too."""
    made = admin.post("/v1/webhooks", {"url": "https://hooks.invalid/", "events": ["file.deleted"]}).json()
    emit(usage, project, "file.deleted")
    calls = {}
    for path, rotate in (("webhooks", "rotate-secret"), ("webhook_endpoints", "rotate_secret")):
        delivery = admin.get(f"/v1/webhooks/{made['id']}/deliveries").json()["data"][0]
        routes = {
            path: (path, {"url": "https://hooks.example.com/", "events": ["*"]}), f"{path}/:id/test": (f"{path}/{made['id']}/test", {}),
            f"{path}/:id/{rotate}": (f"{path}/{made['id']}/{rotate}", {}),
            f"{path}/:id/deliveries/:delivery/redeliver": (f"{path}/{made['id']}/deliveries/{delivery['id']}/redeliver", {}),
        }
        if path == "webhook_endpoints":
            routes[f"{path}/:id"] = (f"{path}/{made['id']}", {"name": "each"})
        for route, (called, body) in routes.items():
            calls[route] = lambda header, called=called, body=body: admin.post(f"/v1/{called}", body, headers=header)
    return calls


def one_of_each_agent_route(admin) -> dict:
    """On a fresh agent each: what is revoked cannot be suspended."""

    def call(name: str):
        key = admin.post("/v1/management/join-keys", {}).json()["key"]
        agent = Host(admin.client.base_url, f"each-{name}").enrol(key).json()["agent_id"]
        return lambda header: admin.post(f"/v1/management/agents/{agent}/{name}", {}, headers=header)

    names = ("suspend", "pause", "activate", "resume", "drain", "revoke-credentials", "curve-rotate")
    calls = {f"management/agents/:id/{name}": call(name) for name in names}
    # Only who waits for it can be approved or rejected.
    admin.send("PUT", "/v1/settings/approve_new_agents", {"value": True})
    calls |= {f"management/agents/:id/{name}": call(name) for name in ("approve", "reject")}
    admin.send("PUT", "/v1/settings/approve_new_agents", {"value": False})
    return calls


def one_of_each(shop, admin, engine, usage) -> dict:
    """A valid call of each POST route; `gateway --list-routes` shows them."""
    made = admin.send("POST", KEYS, {"name": "each", "scopes": ["inference"]}).json()
    vectors, judge = (shop.project.endpoint(engine.url, task_mode=mode).slug for mode in ("embed", "score"))
    endpoint = {"slug": "each", "tier": "demo", "upstream": {"url": engine.url, "model": "scripted-model"}}

    served = {"slug": "by-agents", "tier": "demo", "model": "scripted-model"}
    assert admin.send("POST", "/v1/endpoints", served).status_code == 201
    routed = {"model": "by-agents", "messages": messages("hi")}
    eventually(lambda: admin.send("POST", "/v1/management/router/explain", routed).status_code == 200, 30)

    def step(name: str):
        return lambda header: admin.call("POST", f"/v1/endpoints/each/{name}", headers=header)

    return {
        **one_of_each_webhook_route(admin, usage, shop.project),
        **one_of_each_agent_route(admin),
        "endpoints": lambda header: admin.send("POST", "/v1/endpoints", endpoint, headers=header),
        **{f"endpoints/:id/{name}": step(name) for name in ("deactivate", "activate", "restart", "test")},
        "chat/completions": lambda header: shop.chat("hi", headers=header),
        "completions": lambda header: shop.caller.post("/v1/completions", {"model": shop.endpoint.slug, "prompt": "hi"}, headers=header),
        "embeddings": lambda header: shop.caller.post("/v1/embeddings", {"model": vectors, "input": "hi"}, headers=header),
        "rerank": lambda header: shop.caller.post("/v1/rerank", {"model": judge, "query": "hi", "documents": ["ho"]}, headers=header),
        "score": lambda header: shop.caller.post("/v1/score", {"model": judge, "text_1": "hi", "text_2": "ho"}, headers=header),
        "files": lambda header: shop.caller.call("POST", "/v1/files", files={"file": ("a", b"x")}, data={"purpose": "batch"}, headers=header),
        "billing/budgets": lambda header: admin.send("POST", "/v1/billing/budgets", {"name": "each", "budget_amount": 100_000}, headers=header),
        "billing/budgets/check": lambda header: admin.call("POST", "/v1/billing/budgets/check", headers=header),
        "management/router/explain": lambda header: admin.send("POST", "/v1/management/router/explain", routed, headers=header),
        "management/join-keys": lambda header: admin.send("POST", "/v1/management/join-keys", {"name": "each"}, headers=header),
        "management/api-keys": lambda header: admin.send("POST", KEYS, {"name": "each", "scopes": ["inference"]}, headers=header),
        "management/api-keys/:id/rotate": lambda header: admin.send("POST", f"{KEYS}/{made['id']}/rotate", {"grace_seconds": 1}, headers=header),
    }


# They say how things stand, or call a server of the customer.
WITHOUT_EFFECT = {"billing/budgets/check", "management/router/explain", "webhooks/:id/test", "webhook_endpoints/:id/test"}
# Signed callbacks of a card processor: they are no project's, and happen once by the processor's own ids.
# An agent that asks again with the same join key and keys gets the same agent, and a token is no change.
# Models are not sent to agents yet, so the last one only refuses.
EXEMPT = {"billing/stripe/webhook", "enroll", "enroll/refresh", "management/agents/:id/models"}


def test_every_post_stores_its_answer_in_the_transaction_of_its_effect(shop, admin, usage, stack, engine):
    posts = {path for method, path, *_ in list_routes(stack) if method == "POST"} - EXEMPT
    calls = one_of_each(shop, admin, engine, usage)
    assert posts == set(calls), "a POST route without a call here is not known to be idempotent"
    for path, call in calls.items():
        header = key()
        first, second = call(header), call(header)
        assert first.status_code in (200, 201, 202), (path, first.text)
        check_replay(first, second)
        request_id = first.headers["x-request-id"]
        stored = usage.query("SELECT xmin::text FROM idempotency_keys WHERE request_id = %s", request_id)
        effects = usage.query(
            "SELECT xmin::text FROM audit_log WHERE request_id = %s UNION ALL SELECT xmin::text FROM usage_events WHERE request_id = %s"
            " UNION ALL SELECT xmin::text FROM files WHERE id = %s",
            request_id, request_id, first.json().get("id"))
        assert len(stored) == 1 and effects == ([] if path in WITHOUT_EFFECT else stored), path


# The official SDK


def test_the_sdk_sends_the_key_and_retries_with_it(shop, stack, sdk_http, usage, engine):
    client = openai.OpenAI(base_url=stack.https_url, api_key=shop.key.key, max_retries=3, http_client=sdk_http)
    header, before = key(), chats(usage, shop)

    def ask():
        return client.chat.completions.create(model=shop.endpoint.slug, messages=messages("hi"), extra_headers=header)

    first, second = ask(), ask()
    assert first == second and chats(usage, shop) == before + 1
    # While the request runs its repetition is told to wait, which the SDK does by itself.
    header = key()
    slow = messages(script(text="slow", first_delay_ms=1500))
    answers = together(3, lambda number: client.chat.completions.create(model=shop.endpoint.slug, messages=slow, extra_headers=header))
    assert len({answer.id for answer in answers}) == 1 and chats(usage, shop) == before + 2


def test_the_sdk_streams_a_replay(shop, stack, sdk_http):
    client = openai.OpenAI(base_url=stack.https_url, api_key=shop.key.key, max_retries=0, http_client=sdk_http)
    header = key()

    def text() -> str:
        stream = client.chat.completions.create(model=shop.endpoint.slug, messages=messages(script(text="one two three")), stream=True, extra_headers=header)
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)

    assert text() == text() == "one two three"
