"""One usage row for each accepted request, with every column (spec 02 §1, 08 §5.1)."""

from decimal import ROUND_HALF_UP, Decimal

import pytest

from harness.together import together
from harness.usage import COLUMNS

USAGE = {"prompt_tokens": 1000, "completion_tokens": 333, "total_tokens": 1333, "prompt_tokens_details": {"cached_tokens": 501},
         "completion_tokens_details": {"reasoning_tokens": 30}}


def cost(row) -> int:
    """Spec 01 §6, in exact arithmetic."""
    price = Decimal(row["price_nano_per_mtok"])
    uncached = (row["input_tokens"] - row["cached_tokens"]) * price
    sum_of_all = uncached + row["cached_tokens"] * price / 4 + row["output_tokens"] * price
    exact = sum_of_all * row["multiplier_bp"] / 10000 / 1_000_000
    return int(exact.quantize(Decimal(1), ROUND_HALF_UP))


def test_a_row_has_every_documented_column(tenant, engine, usage):
    row = usage.one(tenant.chat(script={"text": "a"}).headers["x-request-id"])
    assert set(row) >= set(COLUMNS)


@pytest.mark.parametrize("streamed", [False, True])
def test_the_row_is_there_when_the_answer_is(tenant, engine, usage, streamed):
    call = tenant.stream if streamed else tenant.chat
    answer = call(script={"text": "one two three", "usage": USAGE})
    row = usage.one(answer.headers["x-request-id"])
    expected = {
        "project_id": tenant.project.id, "endpoint_id": tenant.endpoint.id, "endpoint_slug": "talk", "model_name": "served-model",
        "api_key_id": tenant.key.id, "surface": "chat", "service_tier": "default", "tier": "demo",
        "worker_id": f"upstream:{tenant.endpoint.id}", "is_xim": False, "is_stream": streamed, "input_tokens": 1000, "output_tokens": 333,
        "cached_tokens": 501, "reasoning_tokens": 30, "status_code": 200, "error_code": None, "fault": "none", "finish_reason": "stop",
        "cut_by_client": False, "multiplier_bp": 10000, "price_nano_per_mtok": 1_000_000_000, "retries": 0,
    }
    assert {name: row[name] for name in expected} == expected
    assert row["cost_nano"] == cost(row)
    key = f"settle:{row['request_id']}"
    assert usage.query("SELECT id FROM ledger_transactions WHERE idempotency_key = %s", key) == [{"id": row["ledger_tx_id"]}]
    assert row["latency_ms"] >= 0
    # A body has no first token of its own: the column may be null there.
    assert streamed or row["ttft_ms"] is None or row["ttft_ms"] <= row["latency_ms"]
    assert not streamed or 0 <= row["ttft_ms"] <= row["latency_ms"]
    assert row["router_us"] >= 0 and row["queue_ms"] >= 0


@pytest.mark.parametrize("asked,canonical,multiplier", [("fast", "priority", 15000), ("throughput", "scale", 10000), ("cost", "flex", 7500)])
def test_the_profile_sets_the_price(tenant, engine, usage, asked, canonical, multiplier):
    row = usage.one(tenant.chat(script={"text": "a", "usage": USAGE}, service_tier=asked).headers["x-request-id"])
    assert (row["service_tier"], row["multiplier_bp"]) == (canonical, multiplier)
    assert row["cost_nano"] == cost(row)


def test_fifty_parallel_calls_leave_fifty_rows(make_tenant, engine, usage):
    alone = make_tenant()
    answers = together(50, lambda number: alone.chat(script={"text": "a b c", "delay_ms": 5}))
    assert {answer.status_code for answer in answers} == {200}
    rows = usage.of_project(alone.project.id)
    assert sorted(row["request_id"] for row in rows) == sorted(answer.headers["x-request-id"] for answer in answers)
    assert sum(row["output_tokens"] for row in rows) == 150


def test_times_of_a_row_are_those_of_the_request(tenant, engine, usage):
    stream = tenant.stream(script={"text": "a b c", "first_delay_ms": 300, "delay_ms": 100})
    row = usage.one(stream.request_id)
    assert 300 <= row["ttft_ms"] < 800
    assert 600 <= row["latency_ms"] < 1600


def test_a_failed_request_leaves_a_row_that_costs_nothing(tenant, engine, usage):
    answer = tenant.chat(script={"status": 401})
    row = usage.one(answer.headers["x-request-id"])
    assert (row["status_code"], row["error_code"], row["fault"], row["cost_nano"]) == (502, "upstream_error", "agent", 0)


def test_a_request_that_the_engine_refused_is_the_clients_fault(tenant, engine, usage):
    answer = tenant.chat(script={"status": 400, "error": {"message": "bad top_k", "type": "x", "code": "y"}})
    row = usage.one(answer.headers["x-request-id"])
    assert (row["status_code"], row["error_code"], row["fault"], row["cost_nano"]) == (400, "invalid_request", "client", 0)


def test_a_refused_request_leaves_no_row(tenant, engine, usage):
    for answer in (tenant.chat(script={"text": "a"}, temperature=9), tenant.chat_raw(b"{"), tenant.chat(script={"text": "a"}, model="none")):
        usage.none(answer.headers["x-request-id"])


def test_estimated_tokens_are_in_the_row(tenant, engine, usage):
    answer = tenant.chat(script={"text": "x" * 40, "usage": "none"})
    row = usage.one(answer.headers["x-request-id"])
    assert row["output_tokens"] == 10
    assert row["input_tokens"] == answer.json()["usage"]["prompt_tokens"]


def test_several_choices_are_all_counted_when_the_engine_does_not(tenant, engine, usage):
    answer = tenant.chat(script={"text": "x" * 40, "usage": "none"}, n=4)
    assert usage.one(answer.headers["x-request-id"])["output_tokens"] == 40
