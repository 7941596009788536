"""From where a key may be used (spec 08 §2.3)."""

import time

import pytest

from harness.calls import Caller, expect_error

KEYS = "/v1/management/api-keys"
WITHIN_S = 1.1


@pytest.fixture(scope="module")
def admin(tenant, stack) -> Caller:
    return Caller(stack.origin, tenant.project.key("management").key)


def key_with(admin, allow=(), block=(), **values) -> dict:
    body = {"name": "filtered", "scopes": ["inference"], "ip_filter": {"allow": list(allow), "block": list(block)}, **values}
    answer = admin.send("POST", KEYS, body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def models(tenant, key, **values):
    return tenant.caller.get("/v1/models", key=key["key"], **values)


@pytest.mark.parametrize("allow,block,allowed", [
    (["10.0.0.0/8"], [], False), (["127.0.0.0/8"], [], True), ([], [], True), ([], ["127.0.0.1/32"], False), ([], ["10.0.0.0/8"], True),
    (["127.0.0.0/8"], ["127.0.0.1/32"], False), (["10.0.0.0/8", "127.0.0.1/32"], [], True), (["::/0"], [], False), (["0.0.0.0/0"], [], True),
    (["::ffff:127.0.0.0/104"], [], True),
])  # fmt: skip
def test_block_wins_and_an_empty_list_allows_all(tenant, engine, admin, allow, block, allowed):
    key = key_with(admin, allow, block)
    if allowed:
        assert models(tenant, key).status_code == 200
    else:
        expect_error(models(tenant, key), 403, "ip_not_allowed")
        answer = tenant.caller.post("/v1/chat/completions", tenant.body("hi"), key=key["key"])
        expect_error(answer, 403, "ip_not_allowed")
        assert engine.records(answer.headers["x-request-id"]) == []


@pytest.mark.parametrize("header", ["10.0.0.1", "10.0.0.1, 127.0.0.1", "127.0.0.1, 10.0.0.1", "nonsense"])
@pytest.mark.parametrize("name", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP"])
def test_a_forged_header_does_not_help(tenant, admin, name, header):
    key = key_with(admin, ["10.0.0.0/8"])
    expect_error(models(tenant, key, headers={name: f"for={header}" if name == "Forwarded" else header}), 403, "ip_not_allowed")
    blocked = key_with(admin, [], ["127.0.0.0/8"])
    expect_error(models(tenant, blocked, headers={name: header}), 403, "ip_not_allowed")


def test_the_address_of_a_tls_client_counts_too(tenant, admin, stack):
    https = Caller(stack.https_url.removesuffix("/v1"), None, stack.ca_file)
    expect_error(https.get("/v1/models", key=key_with(admin, ["10.0.0.0/8"])["key"]), 403, "ip_not_allowed")
    assert https.get("/v1/models", key=key_with(admin, ["127.0.0.0/8", "::1/128"])["key"]).status_code == 200


def test_a_filter_acts_within_a_second_and_ends_as_soon(tenant, admin):
    key = key_with(admin)
    assert {models(tenant, key).status_code for _ in range(6)} == {200}
    answer = admin.send("PUT", f"{KEYS}/{key['id']}/ip-filter", {"allow": ["10.0.0.0/8"]})
    assert answer.json()["ip_filter"] == {"allow": ["10.0.0.0/8"], "block": []}
    time.sleep(WITHIN_S)
    for _ in range(6):
        expect_error(models(tenant, key), 403, "ip_not_allowed")
    for body in ({"allow": [], "block": []}, None):
        assert admin.send("PUT", f"{KEYS}/{key['id']}/ip-filter", body).status_code == 200
        time.sleep(WITHIN_S)
        assert {models(tenant, key).status_code for _ in range(6)} == {200}


def test_the_address_comes_after_expiry_and_before_the_project_and_the_scope(tenant, admin, other_project):
    short = key_with(admin, ["10.0.0.0/8"], expires_at=int(time.time()) + 2)
    expect_error(models(tenant, short), 403, "ip_not_allowed")
    key = key_with(admin, ["10.0.0.0/8"], scopes=["execution"])
    expect_error(models(tenant, key), 403, "ip_not_allowed")
    expect_error(tenant.caller.get(f"/{other_project.slug}/v1/models", key=key["key"]), 403, "ip_not_allowed")
    expect_error(tenant.caller.get("/no-such-project/v1/models", key=key["key"]), 403, "ip_not_allowed")
    time.sleep(3)
    expect_error(models(tenant, short), 401, "api_key_expired")
