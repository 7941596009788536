"""What becomes of an upstream's failures (spec 05 §10), before the first byte."""

import pytest

from harness.calls import expect_error
from harness.tenants import tier


@pytest.fixture(scope="module")
def hurried(make_tenant):
    """An endpoint whose tier gives a request two seconds."""
    return make_tenant(tier=tier(request_timeout_s=2))


def ask(tenant, streamed, **values):
    """A refusal looks the same for a stream and a body, because no byte was sent."""
    return tenant.chat(script=values, stream=True) if streamed else tenant.chat(script=values)


STREAMED = pytest.mark.parametrize("streamed", [False, True], ids=["body", "stream"])


@STREAMED
@pytest.mark.parametrize("body", ["json", "html", "empty"])
def test_a_400_of_the_engine_is_an_invalid_request(tenant, engine, streamed, body):
    answer = ask(tenant, streamed, status=400, body=body, error={"message": "at 127.0.0.1:19180: top_k is bad", "type": "x", "code": 1})
    expect_error(answer, 400, "invalid_request")
    assert len(engine.records(answer.headers["x-request-id"])) == 1


@STREAMED
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_of_the_operator_is_not_the_clients_fault(tenant, engine, streamed, status):
    answer = ask(tenant, streamed, status=status, error={"message": "Incorrect API key: sk-secret", "type": "x", "code": "invalid_api_key"})
    error = expect_error(answer, 502, "upstream_error")
    assert "sk-secret" not in error["message"]
    assert len(engine.records(answer.headers["x-request-id"])) == 1


@STREAMED
@pytest.mark.parametrize("body", ["json", "html"])
def test_a_404_of_the_engine_is_a_fault_of_the_upstream(tenant, engine, streamed, body):
    expect_error(ask(tenant, streamed, status=404, body=body), 502, "upstream_error")


@STREAMED
@pytest.mark.parametrize("body", ["json", "html", "empty"])
def test_a_500_of_the_engine_is_a_fault_of_the_upstream(tenant, engine, streamed, body):
    expect_error(ask(tenant, streamed, status=500, body=body), 502, "upstream_error", "worker_error")


@STREAMED
@pytest.mark.parametrize("body", ["json", "html"])
def test_a_429_is_retried_and_then_is_no_capacity(tenant, engine, usage, streamed, body):
    answer = ask(tenant, streamed, status=429, body=body)
    expect_error(answer, 429, "capacity_exceeded")
    assert len(engine.records(answer.headers["x-request-id"])) == 3
    row = usage.one(answer.headers["x-request-id"])
    assert (row["status_code"], row["retries"], row["cost_nano"]) == (429, 2, 0)


@STREAMED
@pytest.mark.parametrize("status", [502, 503, 504])
@pytest.mark.parametrize("body", ["json", "html"])
def test_other_faults_are_retried_and_then_shown(tenant, engine, streamed, status, body):
    answer = ask(tenant, streamed, status=status, body=body)
    assert answer.status_code in (502, 503, 504)
    assert answer.json()["error"]["code"] in ("upstream_error", "worker_error", "no_worker_available", "service_unavailable", "upstream_timeout")
    assert len(engine.records(answer.headers["x-request-id"])) == 3


@pytest.mark.parametrize("raw", ["", "{", "<html>oops</html>", "[]", "null", "{}", '{"choices":[]}', '{"choices":5}', '{"choices":[{"index":0}]}', '\udcff\udcfe', '{"choices":[{"index":0,"message":{"role":"assistant","content":"\udcff"},"finish_reason":"stop"}]}'], ids=repr)
def test_a_body_that_is_no_completion_is_an_invalid_response(tenant, engine, raw):
    expect_error(tenant.chat(script={"raw_body": raw}), 502, "upstream_invalid_response")


@pytest.mark.parametrize("raw", ["data: {\n\n", "data: \udcff\n\n", "data: []\n\n", "data: null\n\n", "data: {}\n\n", 'data: {"choices":5}\n\n'], ids=repr)
def test_a_bad_first_chunk_is_an_invalid_response(tenant, engine, raw):
    expect_error(ask(tenant, True, text="a", raw_chunks={"0": raw}), 502, "upstream_invalid_response")


def test_a_stream_of_html_is_an_invalid_response(tenant, engine):
    answer = ask(tenant, True, tokens=[], finish_reason=None, done=False, raw_chunks={"0": "<html>oops</html>\n\n"})
    expect_error(answer, 502, "upstream_invalid_response", "upstream_error")


@pytest.mark.parametrize("how", ["reset", "close"])
@STREAMED
def test_a_connection_lost_before_the_first_byte_is_retried(tenant, engine, streamed, how):
    cut = {"cut": {"how": how, "after_bytes": 0}}
    script = {"by_attempt": [cut, cut, {"text": "at last"}]}
    if streamed:
        stream = tenant.stream(script=script)
        stream.check()
        assert stream.text() == "at last"
    else:
        assert tenant.chat(script=script).json()["choices"][0]["message"]["content"] == "at last"


@pytest.mark.parametrize("how", ["reset", "close", "end"])
def test_a_body_cut_in_the_middle_is_never_passed_on(tenant, engine, how):
    answer = tenant.chat(script={"text": "one two three", "cut": {"how": how, "after_bytes": 120}})
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] in ("upstream_error", "upstream_invalid_response", "worker_lost", "worker_error")


@STREAMED
def test_an_engine_that_never_answers_is_a_timeout(hurried, engine, streamed, usage):
    answer = ask(hurried, streamed, never_answer=True)
    expect_error(answer, 504, "gateway_timeout", "upstream_timeout")
    assert 1.5 < answer.elapsed.total_seconds() < 4
    record = engine.wait_for_end(answer.headers["x-request-id"])
    assert record["end"] == "client closed"
    row = usage.one(answer.headers["x-request-id"])
    assert (row["status_code"], row["fault"], row["cost_nano"]) == (504, "agent", 0)


def test_a_slow_stream_has_no_total_limit(hurried, engine):
    stream = hurried.stream(script={"text": "one two three four", "delay_ms": 900})
    stream.check()


def test_a_slow_body_has(hurried, engine):
    answer = hurried.chat(script={"text": "one two three four", "delay_ms": 1000})
    expect_error(answer, 504, "gateway_timeout", "upstream_timeout")


def test_an_upstream_that_nothing_listens_on_is_a_fault_of_the_upstream(make_tenant, mortal_engine):
    nobody = make_tenant(upstream_url=mortal_engine.engines[0].url)
    answer = nobody.chat(script={"text": "a"})
    assert answer.status_code in (502, 503)
    assert answer.json()["error"]["code"] in ("upstream_error", "no_worker_available", "worker_lost")
