"""Retries before the first byte, several URLs, health, and the ways to write a URL (spec 05 §6, §10)."""

import os

import pytest

from harness.calls import expect_error
from harness.together import eventually, together


@pytest.fixture(scope="module")
def pair(make_tenant, engines):
    """An endpoint with two upstream URLs."""
    return make_tenant(upstream_url=[engines[0].url, engines[1].url])


@pytest.fixture(autouse=True)
def all_behave_well(engines):
    yield
    for engine in engines:
        engine.behave_well()


def test_a_failure_before_the_first_byte_is_invisible(tenant, engine, usage):
    stream = tenant.stream(script={"by_attempt": [{"status": 503}, {"status": 502, "body": "html"}, {"text": "at last"}]}, stream_options={"x_events": True})
    stream.check(opted_in=True)
    assert stream.text() == "at last"
    assert stream.vendor_events[-1].value["routing"]["attempts"] == 3
    row = usage.one(stream.request_id)
    assert (row["retries"], row["status_code"], row["fault"]) == (2, 200, "none")


def test_pauses_between_attempts_grow(tenant, engine):
    answer = tenant.chat(script={"by_attempt": [{"status": 503}, {"status": 503}, {"text": "ok"}]})
    first, second, third = [record["started_ms"] for record in engine.records(answer.headers["x-request-id"])]
    assert 75 <= second - first < 400
    assert 150 <= third - second < 600


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_clear_refusal_is_not_retried(tenant, engine, status):
    answer = tenant.chat(script={"by_attempt": [{"status": status}, {"text": "never"}]})
    assert answer.status_code != 200
    assert len(engine.records(answer.headers["x-request-id"])) == 1


def test_nothing_is_retried_after_the_first_byte(tenant, engine):
    stream = tenant.stream(script={"by_attempt": [{"text": "a b c", "cut": {"how": "reset", "after_chunks": 2}}, {"text": "never"}]})
    assert stream.error is not None
    assert len(engine.records(stream.request_id)) == 1


def test_the_next_attempt_goes_to_another_url(pair, engines):
    engines[0].behave(all_status=503)
    answers = [pair.chat(script={"text": "from the other"}) for _ in range(6)]
    assert {answer.status_code for answer in answers} == {200}
    for answer in answers:
        assert len(engines[0].records(answer.headers["x-request-id"])) <= 1
        assert len(engines[1].records(answer.headers["x-request-id"])) == 1


def test_both_urls_are_used(pair, engines):
    before = [engine.counts["chat"] for engine in engines[:2]]
    together(40, lambda number: pair.chat(script={"text": "a", "first_delay_ms": 50}), threads=8)
    after = [engine.counts["chat"] for engine in engines[:2]]
    assert all(later > earlier for earlier, later in zip(before, after))


def test_a_dead_url_is_passed_over(make_tenant, engines, mortal_engine):
    mixed = make_tenant(upstream_url=[mortal_engine.engines[0].url, engines[0].url])
    answers = [mixed.chat(script={"text": "alive"}) for _ in range(6)]
    assert {answer.status_code for answer in answers} == {200}


def test_when_all_urls_fail_the_client_hears_it_once(pair, engines):
    for engine in engines[:2]:
        engine.behave(all_status=503)
    answer = pair.chat(script={"text": "a"})
    assert answer.status_code in (502, 503)
    assert sum(len(engine.records(answer.headers["x-request-id"])) for engine in engines[:2]) == 3


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
def test_a_url_works_with_or_without_its_version(make_tenant, project, engine, suffix):
    tenant = make_tenant(project, upstream_url=f"http://{engine.address}{suffix}")
    answer = tenant.chat(script={"text": "a"})
    assert answer.status_code == 200
    assert engine.record(answer.headers["x-request-id"])["path"] == "/v1/chat/completions"


def test_the_operators_key_and_headers_reach_the_engine(make_tenant, project, engine, monkeypatch):
    monkeypatch.setenv("E2E_UPSTREAM_KEY", "sk-operator")
    assert os.environ["E2E_UPSTREAM_KEY"]
    tenant = make_tenant(project, upstream_key_env="E2E_UPSTREAM_KEY", header=["X-Team: blue", "X-Zone: 7"])
    sent = engine.record(tenant.chat(script={"text": "a"}).headers["x-request-id"])["headers"]
    assert sent["authorization"] == "Bearer sk-operator"
    assert (sent["x-team"], sent["x-zone"]) == ("blue", "7")


def test_a_host_that_the_operator_does_not_list_is_not_called(make_tenant):
    """Either the operator's tool refuses the address, or the gateway does; nothing is sent to it."""
    from harness.tenants import MigrateFailed

    try:
        stranger = make_tenant(upstream_url="http://127.0.0.1:9/v1")
    except MigrateFailed:
        return
    answer = stranger.chat(script={"text": "a"})
    assert answer.status_code in (400, 502, 503)
    assert answer.json()["error"]["code"] in ("egress_blocked", "upstream_error", "no_worker_available")


@pytest.mark.patient
@pytest.mark.limit(300)
def test_an_unwell_url_leaves_and_comes_back(make_tenant, stack, engines):
    """Every 15 s a probe; out after three failures, in after one success."""
    probe = 15 * stack.time_scale
    pair = make_tenant(upstream_url=[engines[0].url, engines[2].url], health_path="/health")
    pair.chat(script={"text": "a"})
    engines[0].behave(health_status=500)

    def only_the_other():
        before = engines[0].counts["chat"]
        assert {pair.chat(script={"text": "a"}).status_code for _ in range(8)} == {200}
        return engines[0].counts["chat"] == before

    eventually(only_the_other, seconds=4 * probe + 10, every=max(probe / 3, 0.2))
    engines[0].behave(health_status=200)
    eventually(lambda: not only_the_other(), seconds=2 * probe + 10, every=max(probe / 3, 0.2))


def test_a_listener_that_answers_no_chat_is_an_upstream_error(make_tenant, project, engine):
    tenant = make_tenant(project, upstream_url=f"http://{engine.address}/nothing/here/v1")
    expect_error(tenant.chat(script={"text": "a"}), 502, "upstream_error")
