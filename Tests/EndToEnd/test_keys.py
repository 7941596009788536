"""Keys: form, scope, expiry, pin, revocation (spec 01 §4)."""

import statistics
import time

import pytest

from harness.calls import expect_error
from harness.together import eventually

REVOKED_WITHIN_S = 1.0


def with_key(tenant, text, **values):
    headers = {"Authorization": text} if text is not None else {}
    return tenant.caller.post("/v1/chat/completions", tenant.body(script={"text": "a"}), key=None, headers=headers, **values)


def test_a_missing_key_is_401(tenant, engine):
    answer = with_key(tenant, None)
    expect_error(answer, 401, "authentication_error")
    assert engine.records(answer.headers["x-request-id"]) == []


def variants(key: str) -> dict:
    prefix, slug, secret = key.split("_", 2)
    return {
        "one character changed": f"{prefix}_{slug}_{secret[:-1]}{'A' if secret[-1] != 'A' else 'B'}", "one short": key[:-1], "one long": key + "A",
        "no secret": f"{prefix}_{slug}_", "no slug": f"{prefix}_{secret}", "another slug": f"{prefix}_other-{slug}_{secret}",
        "another prefix": f"sk_{slug}_{secret}", "upper case prefix": f"XERO_{slug}_{secret}", "bad characters": f"{prefix}_{slug}_{'!' * 43}",
        "empty": None, "a space inside": key[:20] + " " + key[20:], "very long": key + "A" * 8000, "not ASCII": f"{prefix}_{slug}_{'ü' * 43}",
    }


@pytest.mark.parametrize("name", list(variants("xero_a_" + "x" * 43)))
def test_a_malformed_or_unknown_key_is_401(tenant, engine, name):
    text = variants(tenant.key.key)[name]
    header = "Bearer" if text is None else f"Bearer {text}"
    answer = with_key(tenant, header.encode("latin-1"))
    error = expect_error(answer, 401, "authentication_error")
    assert tenant.key.key[-20:] not in error["message"]
    assert engine.records(answer.headers["x-request-id"]) == []


@pytest.mark.parametrize("scheme", ["Basic {}", "{}", "bearer", "Bearer", "Token {}", "Bearer {} {}"])
def test_only_a_bearer_key_counts(tenant, engine, scheme):
    expect_error(with_key(tenant, scheme.format(tenant.key.key, tenant.key.key)), 401, "authentication_error")


def test_the_scheme_may_be_written_in_any_case(tenant, engine):
    assert with_key(tenant, f"bearer {tenant.key.key}").status_code == 200


def test_an_expired_key_is_401(tenant, engine):
    expired = tenant.using(key=tenant.project.expired_key())
    expect_error(expired.chat(script={"text": "a"}), 401, "api_key_expired")


def test_a_key_expires_while_it_is_in_use(tenant, engine):
    short = tenant.using(key=tenant.project.key(expires_at=int(time.time()) + 3))
    assert short.chat(script={"text": "a"}).status_code == 200
    time.sleep(4)
    expect_error(short.chat(script={"text": "a"}), 401, "api_key_expired")


def test_a_revoked_key_is_401_within_a_second_on_every_gateway(tenant, engine):
    revoked = tenant.using(key=tenant.project.key())
    assert [revoked.chat(script={"text": "a"}).status_code for _ in range(10)] == [200] * 10
    revoked.key.revoke()
    time.sleep(REVOKED_WITHIN_S)
    for _ in range(20):
        expect_error(revoked.chat(script={"text": "a"}), 401, "authentication_error")


def test_a_stream_that_runs_is_not_cut_by_a_revocation(tenant, engine):
    from concurrent.futures import ThreadPoolExecutor

    revoked = tenant.using(key=tenant.project.key())
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(revoked.stream, script={"text": "one two three four", "delay_ms": 400})
        time.sleep(0.3)
        revoked.key.revoke()
        running.result().check()


@pytest.mark.parametrize("scopes", ["management", "execution", "management,execution"])
def test_no_scope_implies_inference(tenant, engine, scopes):
    answer = tenant.using(key=tenant.project.key(scopes)).chat(script={"text": "a"})
    error = expect_error(answer, 403, "scope_insufficient")
    assert error["type"] == "authentication_error"
    assert engine.records(answer.headers["x-request-id"]) == []


@pytest.mark.parametrize("scopes", ["chat", "models", "embeddings", "responses", "inference,management"])
def test_legacy_scopes_are_read_as_inference(tenant, engine, scopes):
    assert tenant.using(key=tenant.project.key(scopes)).chat(script={"text": "a"}).status_code == 200


def test_a_pinned_key_serves_only_its_endpoint(tenant, engine):
    other = tenant.project.endpoint(engine.url, slug="pinned")
    pinned = tenant.using(other, tenant.project.key(endpoint="pinned"))
    assert pinned.chat(script={"text": "a"}).status_code == 200
    own = f"/{tenant.project.slug}"
    for path, param in (("/v1/chat/completions", "model"), (f"{own}/v1/chat/completions", "model"), (f"{own}/talk/v1/chat/completions", None)):
        answer = pinned.using(tenant.endpoint).chat(script={"text": "a"}, path=path)
        expect_error(answer, 403, "endpoint_mismatch", param=param)


def test_a_key_of_another_project_is_403(tenant, other_project, engine):
    stranger = tenant.using(key=other_project.key())
    for path in (f"/{tenant.project.slug}/v1/chat/completions", f"/{tenant.project.slug}/talk/v1/chat/completions", f"/{tenant.project.id}/v1/chat/completions"):
        answer = stranger.chat(script={"text": "a"}, path=path)
        expect_error(answer, 403, "cross_project_access")
        assert engine.records(answer.headers["x-request-id"]) == []


def test_a_key_of_another_project_sees_none_of_our_endpoints_on_the_host_family(tenant, other_project, engine):
    answer = tenant.using(key=other_project.key()).chat(script={"text": "a"})
    expect_error(answer, 404, "model_not_found", param="model")


def test_an_unknown_project_is_404(tenant, engine):
    expect_error(tenant.chat(script={"text": "a"}, path="/no-such-project/v1/chat/completions"), 404, "project_not_found")


def test_a_bad_key_on_an_unknown_project_is_401(tenant, engine):
    answer = tenant.caller.post("/no-such-project/v1/chat/completions", tenant.body(script={}), key="xero_x_y")
    expect_error(answer, 401, "authentication_error")


def test_a_secret_with_underscores_works(project, tenant, engine):
    """43 characters of base64url: an underscore comes sooner or later."""
    def key_with_underscore():
        key = project.key()
        return key if "_" in key.key.split("_", 2)[2] else None

    key = eventually(key_with_underscore, seconds=60, every=0)
    assert tenant.using(key=key).chat(script={"text": "a"}).status_code == 200


def test_the_time_of_a_wrong_key_does_not_tell_how_much_of_it_is_right(tenant, engine):
    prefix, slug, secret = tenant.key.key.split("_", 2)
    nearly = f"{prefix}_{slug}_{secret[:-1]}{'A' if secret[-1] != 'A' else 'B'}"
    far = f"{prefix}_{slug}_{'A' if secret[0] != 'A' else 'B'}{secret[1:]}"
    times = {nearly: [], far: []}
    for _ in range(400):
        for key, found in times.items():
            started = time.perf_counter()
            tenant.caller.client.get("/v1/models", headers={"Authorization": f"Bearer {key}"})
            found.append(time.perf_counter() - started)
    ratio = statistics.median(times[nearly]) / statistics.median(times[far])
    assert 0.8 < ratio < 1.25, ratio


def test_the_database_holds_no_usable_key(tenant, usage):
    secret = tenant.key.key.split("_", 2)[2]
    tables = usage.query("SELECT table_schema AS s, table_name AS t FROM information_schema.tables WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')")
    assert any(table["t"] == "api_keys" for table in tables)
    for table in tables:
        rows = usage.query(f'SELECT count(*) AS n FROM "{table["s"]}"."{table["t"]}" AS row WHERE strpos(row::text, %s) > 0', secret)
        assert rows[0]["n"] == 0, table
