"""Requests are paid before they run, and cost what was produced (spec 08 §6, 04 §10)."""

import json
import time

import pytest

from harness.calls import expect_error
from harness.ledger import DEMO_TOKEN, dollars
from harness.logs import access_log_lines
from harness.raw import RawCall
from harness.tenants import Project, tier
from harness.together import eventually, together

USAGE = {"prompt_tokens": 1000, "completion_tokens": 333, "total_tokens": 1333, "prompt_tokens_details": {"cached_tokens": 501}}


def prompt_hold(content: str) -> int:
    """Tokens that are held for a prompt of one message."""
    return (len(content.encode()) + 1) // 2


@pytest.fixture
def make_poor(make_tenant):
    """A tenant whose project has just this much, in nano-USD."""

    def make(nano: int, **values):
        project = Project.create("poor", credit=dollars(nano) if nano else None)
        return make_tenant(project, **values)

    return make


@pytest.mark.parametrize("streamed", [False, True])
def test_a_project_without_money_is_refused(make_poor, engine, usage, streamed):
    poor = make_poor(0)
    before = engine.sequence
    answer = poor.chat(script={"text": "a"}, stream=streamed)
    expect_error(answer, 402, "insufficient_credits")
    assert engine.records(since=before) == []
    usage.none(answer.headers["x-request-id"])


def test_an_empty_project_is_refused_again_and_again(make_poor, engine):
    poor = make_poor(0)
    answers = together(100, lambda number: poor.chat("hi"), threads=10)
    assert {answer.status_code for answer in answers} == {402}


def test_a_top_up_acts_within_a_second(make_poor, engine):
    poor = make_poor(0)
    for _ in range(5):
        expect_error(poor.chat("hi"), 402, "insufficient_credits")
    poor.project.top_up("1")
    started = time.monotonic()
    eventually(lambda: poor.chat("hi").status_code == 200, seconds=1)
    assert time.monotonic() - started < 1


def test_a_top_up_lifts_a_clamp_within_a_second(make_poor, engine):
    poor = make_poor(3_000 * DEMO_TOKEN)
    assert "x-xerotier-clamped" in poor.chat("hi", max_tokens=4_000).headers
    poor.project.top_up("1")
    time.sleep(1)
    assert "x-xerotier-clamped" not in poor.chat("hi", max_tokens=4_000).headers


def test_a_tier_that_costs_nothing_needs_no_credit(make_poor, engine, usage, ledger):
    poor = make_poor(0, tier=tier(price_nano_per_mtok=0))
    answer = poor.chat(script={"text": "a", "usage": USAGE})
    assert answer.status_code == 200
    assert usage.one(answer.headers["x-request-id"])["cost_nano"] == 0
    assert ledger.settled(poor.project.id) == []


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("profile,percent", [("default", 100), ("priority", 150), ("flex", 75)])
def test_an_answer_costs_its_tokens_to_the_nano(make_tenant, engine, usage, ledger, streamed, profile, percent):
    tenant = make_tenant()
    call = tenant.stream if streamed else tenant.chat
    answer = call(script={"text": "one two three", "usage": USAGE}, service_tier=profile)
    # 499 whole tokens of the prompt, 501 at a quarter of the price, 333 of output.
    quarters = (4 * 499 + 501 + 4 * 333) * DEMO_TOKEN * percent
    cost = (2 * quarters + 400) // 800
    assert usage.one(answer.headers["x-request-id"])["cost_nano"] == cost
    assert ledger.settled(tenant.project.id) == [{"request_id": answer.headers["x-request-id"], "nano": cost}]
    assert ledger.paid_in(tenant.project.id) - ledger.money(tenant.project.id) == cost


def test_fifty_parallel_calls_are_settled_and_sum_to_the_change_of_the_balance(make_tenant, engine, usage, ledger):
    alone = make_tenant()
    answers = together(50, lambda number: alone.chat(script={"text": "a b c", "delay_ms": 5}))
    assert {answer.status_code for answer in answers} == {200}
    rows = usage.of_project(alone.project.id)
    assert sorted(row["request_id"] for row in rows) == sorted(answer.headers["x-request-id"] for answer in answers)
    assert len(ledger.settled(alone.project.id)) == 50
    ledger.check(alone.project.id, rows)


def test_the_sum_of_all_postings_is_zero(tenant, engine, ledger):
    tenant.chat("hi")
    assert ledger.sum_of_all_postings() == 0


def test_a_stream_cut_by_its_client_costs_the_prompt_and_what_was_produced(make_tenant, stack, engine, usage, ledger):
    tenant = make_tenant()
    call = RawCall(stack.http_address)
    call.post_json("/v1/chat/completions", tenant.body(script={"tokens": ["word "], "repeat": 1000, "delay_ms": 20}, stream=True), tenant.key.key)
    call.read_until(b'"content":"word "', times=37)
    seen = call.received.count(b'"content":"word "')
    call.close()
    record = engine.wait_for_end(call.header("x-request-id"))
    row = usage.one(record["request_id"], seconds=3)
    assert seen <= row["output_tokens"] <= record["tokens"] <= seen + 5
    assert row["cost_nano"] == (row["input_tokens"] + row["output_tokens"]) * DEMO_TOKEN
    assert row["input_tokens"] > 0
    ledger.check(tenant.project.id, [row])


@pytest.mark.parametrize("chunks,tokens", [(1, 0), (2, 1), (6, 5)])
def test_a_stream_that_the_engine_broke_costs_only_what_was_produced(make_tenant, engine, usage, ledger, chunks, tokens):
    tenant = make_tenant()
    stream = tenant.stream(script={"tokens": ["word "], "repeat": 10, "cut": {"how": "close", "after_chunks": chunks}})
    stream.check_broken(("stream_interrupted",))
    row = usage.one(stream.request_id)
    assert (row["output_tokens"], row["cost_nano"]) == (tokens, tokens * DEMO_TOKEN)
    ledger.check(tenant.project.id, [row])


def test_an_engine_that_fails_costs_nothing(make_tenant, engine, usage, ledger):
    tenant = make_tenant()
    answer = tenant.chat(script={"status": 500})
    assert answer.status_code >= 500
    assert usage.one(answer.headers["x-request-id"])["cost_nano"] == 0
    assert ledger.settled(tenant.project.id) == []


# What can be paid


def test_an_answer_is_clamped_to_what_the_balance_pays(make_poor, engine, usage, ledger):
    content = "hello " * 50  # longer than what an engine adds to it
    poor = make_poor((prompt_hold(content) + 100) * DEMO_TOKEN)
    engine.behave(default_script={"tokens": ["a "], "repeat": 1000})
    stream = poor.stream(content, max_tokens=1000, stream_options={"x_events": True})
    assert stream.headers["x-xerotier-clamped"] == "max_tokens=1000->100"
    assert engine.record(stream.request_id)["body"]["max_tokens"] == 100
    stream.check(opted_in=True)
    assert stream.finish_reasons() == {0: "length"}
    metadata = stream.vendor_events[-1].value
    assert metadata["stop_detail"] == "insufficient_credits"
    assert metadata["clamped"] == {"max_tokens": {"from": 1000, "to": 100}}
    assert ledger.money(poor.project.id) == (prompt_hold(content) + 100) * DEMO_TOKEN - usage.one(stream.request_id)["cost_nano"]


def test_a_body_is_clamped_too(make_poor, engine):
    content = "hello"
    poor = make_poor((prompt_hold(content) + 50) * DEMO_TOKEN)
    engine.behave(default_script={"tokens": ["a "], "repeat": 1000})
    answer = poor.chat(content, headers={"X-Xerotier-Events": "on"})
    assert answer.headers["x-xerotier-clamped"].endswith("->50")
    assert answer.json()["choices"][0]["finish_reason"] == "length"
    assert answer.json()["x_metadata"]["stop_detail"] == "insufficient_credits"


def test_a_long_answer_is_clamped_to_what_the_balance_pays(make_poor, engine):
    """Beyond the tokens that are held at first."""
    poor = make_poor((prompt_hold("hello") + 3_000) * DEMO_TOKEN)
    answer = poor.chat("hello", max_tokens=3_900)
    assert answer.headers["x-xerotier-clamped"] == "max_tokens=3900->3000"


@pytest.mark.parametrize("tokens,status", [(15, 402), (16, 200)])
def test_less_than_sixteen_tokens_are_not_begun(make_poor, engine, tokens, status):
    poor = make_poor((prompt_hold("hello") + tokens) * DEMO_TOKEN)
    assert poor.chat("hello", max_tokens=1000).status_code == status


def test_who_asks_for_fewer_needs_only_those(make_poor, engine):
    poor = make_poor((prompt_hold("hello") + 2) * DEMO_TOKEN)
    answer = poor.chat("hello", max_tokens=2)
    assert answer.status_code == 200
    assert "x-xerotier-clamped" not in answer.headers


def test_each_choice_is_paid(make_poor, engine):
    poor = make_poor((prompt_hold("hello") + 50) * DEMO_TOKEN)
    expect_error(poor.chat("hello", n=4, max_tokens=1000), 402, "insufficient_credits")
    assert poor.chat("hello", n=3, max_tokens=1000).headers["x-xerotier-clamped"] == "max_tokens=1000->16"


def test_credit_goes_before_the_rates(make_poor, engine):
    poor = make_poor(0, tier=tier(requests_per_minute=1, burst_floor=1))
    for _ in range(5):
        expect_error(poor.chat("hi"), 402, "insufficient_credits")


def test_a_request_that_the_rates_refuse_gives_its_hold_back(make_poor, engine):
    rated = make_poor(2_500 * DEMO_TOKEN, tier=tier(requests_per_minute=1, burst_floor=1))
    answers = [rated.chat("hi") for _ in range(10)]
    assert [answer.status_code for answer in answers[2:]] == [429] * 8


# Streams that go on


def test_a_long_stream_is_paid_as_it_goes(make_tenant, engine, usage, ledger):
    tenant = make_tenant()
    stream = tenant.stream(script={"tokens": ["a "], "repeat": 7_000, "obey_max_tokens": False, "usage": "none"})
    stream.check()
    assert stream.text() == "a " * 7_000
    row = usage.one(stream.request_id)
    ledger.check(tenant.project.id, [row])


@pytest.mark.parametrize("more", [0, 1, 500, 2_048, 5_000])
def test_a_stream_ends_where_the_money_ends(make_poor, engine, usage, ledger, more):
    content = json.dumps({"script": {"tokens": ["a "], "repeat": 20_000, "obey_max_tokens": False}})
    prompt = (len(content) + 3) // 4
    poor = make_poor((prompt_hold(content) + 100 + more) * DEMO_TOKEN)
    stream = poor.stream(content, max_tokens=100, stream_options={"include_usage": True, "x_events": True})
    stream.check(include_usage=True, opted_in=True)
    assert stream.finish_reasons() == {0: "length"}
    tokens = prompt_hold(content) - prompt + 100 + more
    assert stream.text() == "a " * tokens
    assert stream.usage["completion_tokens"] == tokens
    assert stream.vendor_events[-1].value["stop_detail"] == "insufficient_credits"
    assert engine.wait_for_end(stream.request_id)["end"] == "client closed"
    assert ledger.money(poor.project.id) == 0
    ledger.check(poor.project.id, [usage.one(stream.request_id)])


def test_all_choices_of_a_stream_end_together(make_poor, engine, ledger):
    content = json.dumps({"script": {"tokens": ["a "], "repeat": 5_000, "obey_max_tokens": False}})
    poor = make_poor((prompt_hold(content) + 3 * 100) * DEMO_TOKEN)
    stream = poor.stream(content, max_tokens=100, n=3)
    stream.check(choices=3)
    assert stream.finish_reasons() == {0: "length", 1: "length", 2: "length"}
    assert ledger.money(poor.project.id) == 0


# What else is seen


def test_the_access_log_has_the_cost(stack, tenant, engine, usage):
    request_id = tenant.chat(script={"text": "a", "usage": USAGE}).headers["x-request-id"]
    line = json.loads(eventually(lambda: access_log_lines(stack, request_id))[0])
    assert line["cost_nano"] == usage.one(request_id)["cost_nano"] > 0


@pytest.mark.patient
def test_leases_that_nobody_uses_go_back(make_tenant, engine, ledger):
    tenant = make_tenant()
    tenant.chat("hi")
    assert ledger.open_holds(tenant.project.id)
    eventually(lambda: ledger.open_holds(tenant.project.id) == [], seconds=20, every=0.5)
    assert ledger.available(tenant.project.id) == ledger.money(tenant.project.id)
