"""Legacy text completions on the scripted engine (spec 02 §17)."""

import json
import secrets

import openai
import pytest

from harness.calls import expect_error, script
from harness.ledger import DEMO_TOKEN, dollars
from harness.raw import RawCall
from harness.tenants import Project
from test_url_families import paths

PATH = "/v1/completions"
SAID = {"text": "one two three"}


def body(tenant, prompt=None, **values) -> dict:
    said = script(**values.pop("script", SAID)) if prompt is None else prompt
    return {"model": tenant.endpoint.slug, "prompt": said, **values}


def ask(tenant, prompt=None, *, path=PATH, headers=None, **values):
    return tenant.caller.post(path, body(tenant, prompt, **values), headers=headers)


def stream(tenant, prompt=None, *, headers=None, **values):
    return tenant.caller.stream(PATH, body(tenant, prompt, stream=True, **values), headers=headers)


def choices(answer) -> list:
    assert answer.status_code == 200, answer.text
    return sorted(answer.json()["choices"], key=lambda choice: choice["index"])


def texts(answer) -> list:
    return [choice["text"] for choice in choices(answer)]


def own(text: str) -> str:
    """A prompt with this answer."""
    return script(text=text)


# Answers


@pytest.mark.parametrize("prompt, tokens", [
    ("", 0), ("Once upon", 3), (["Once upon"], 3), (["Once upon", "a time"], 5), ([1, 2, 3], 3), ([[1, 2, 3], [4]], 4),
], ids=repr)
def test_every_form_of_prompt_is_answered_in_order_and_billed(tenant, engine, usage, prompt, tokens):
    answer = ask(tenant, prompt)
    many = isinstance(prompt, list) and isinstance(prompt[0], (str, list))
    count = len(prompt) if many else 1
    assert texts(answer) == ["Hello from the scripted engine."] * count
    assert [choice["finish_reason"] for choice in choices(answer)] == ["stop"] * count
    counted = answer.json()["usage"]
    assert (counted["prompt_tokens"], counted["completion_tokens"]) == (tokens, 6 * count)
    row = usage.one(answer.headers["x-request-id"])
    assert (row["surface"], row["input_tokens"], row["output_tokens"], row["status_code"]) == ("completions", tokens, 6 * count, 200)
    assert (row["finish_reason"], row["cost_nano"], row["is_stream"]) == ("stop", (tokens + 6 * count) * DEMO_TOKEN, False)
    sent = engine.record(answer.headers["x-request-id"])
    assert sent["path"] == PATH and sent["body"]["prompt"] == prompt
    for name in ("x-ratelimit-remaining-requests", "x-xerotier-worker-id", "x-xerotier-routed-endpoint"):
        assert name in answer.headers


def test_an_answer_has_openais_members_and_no_others(tenant, engine):
    answer = ask(tenant).json()
    assert set(answer) == {"id", "object", "created", "model", "system_fingerprint", "choices", "usage"}
    assert answer["choices"] == [{"index": 0, "text": "one two three", "logprobs": None, "finish_reason": "stop"}]
    assert answer["model"] == tenant.endpoint.model


def test_each_prompt_gets_its_answers_one_after_the_other(tenant, engine):
    answer = ask(tenant, [own("first"), own("second one"), own("third")], n=2)
    assert texts(answer) == ["first", "first", "second one", "second one", "third", "third"]
    assert answer.json()["usage"]["completion_tokens"] == 2 * (1 + 2 + 1)


def test_an_answer_has_sixteen_tokens_unless_told_otherwise(tenant, engine):
    said = {"tokens": ["word "], "repeat": 40}
    for values, count in (({}, 16), ({"max_tokens": None}, 16), ({"max_tokens": 3}, 3), ({"max_tokens": 30}, 30)):
        answer = ask(tenant, script=said, **values)
        [choice] = choices(answer)
        assert (choice["text"], choice["finish_reason"]) == ("word " * count, "length")
        assert engine.record(answer.headers["x-request-id"])["body"]["max_tokens"] == count


PASSED = {
    "temperature": 0.25, "top_p": 0.5, "n": 2, "stop": ["x", "y"], "seed": 2**62, "suffix": " the end", "logprobs": 2,
    "logit_bias": {"5": -100}, "frequency_penalty": -2, "presence_penalty": 1.5, "user": "someone", "echo": True, "min_p": 0.1,
}


@pytest.mark.parametrize("name", PASSED)
def test_a_good_value_reaches_the_engine_unchanged(tenant, engine, name):
    answer = ask(tenant, **{name: PASSED[name]})
    assert answer.status_code == 200, answer.text
    assert engine.record(answer.headers["x-request-id"])["body"][name] == PASSED[name]


def test_what_is_ours_is_said_anew_and_the_rest_is_not_sent_on(tenant, engine):
    ours = {"best_of": 2, "n": 2, "service_tier": "flex", "store": True, "metadata": {"a": "b"}, "cache_salt": "x", "x_other": 1, "max_completion_tokens": 900, "n_predict": 900, "n_cmpl": 4, "id_slot": 0, "lora": [{"id": 0, "scale": 1}]}
    answer = ask(tenant, **ours)
    assert answer.status_code == 200
    sent = engine.record(answer.headers["x-request-id"])["body"]
    assert set(sent) == {"model", "prompt", "n", "temperature", "top_p", "max_tokens"}
    assert (sent["model"], sent["temperature"], sent["top_p"], sent["max_tokens"]) == ("scripted-model", 0.7, 0.9, 16)


@pytest.mark.parametrize("name", ["max_tokens", "stop", "echo", "suffix", "logprobs", "best_of", "stream", "stream_options", "n", "temperature", "user"])
def test_null_is_the_same_as_absent(tenant, engine, name):
    assert texts(ask(tenant, **{name: None})) == ["one two three"]


def test_logprobs_are_lists_side_by_side(tenant, engine):
    [choice] = choices(ask(tenant, logprobs=2))
    shown = choice["logprobs"]
    assert shown["tokens"] == ["one ", "two ", "three"] and shown["text_offset"] == [0, 4, 8]
    assert shown["token_logprobs"] == [-0.25] * 3 and [len(each) for each in shown["top_logprobs"]] == [2] * 3
    assert choices(ask(tenant))[0]["logprobs"] is None


def test_an_echo_is_shown_and_not_billed_where_the_engine_counts_nothing(tenant, engine, usage):
    """Three words are 13 bytes: 4 tokens by the rule of four bytes. The prompt before them is long."""
    uncounted = {**SAID, "usage": "none"}
    answer = ask(tenant, script=uncounted, echo=True, logprobs=1)
    prompt = script(**uncounted)
    assert texts(answer) == [prompt + "one two three"]
    assert choices(answer)[0]["logprobs"]["token_logprobs"] == [None, -0.25, -0.25, -0.25]
    assert answer.json()["usage"]["completion_tokens"] == 4
    assert usage.one(answer.headers["x-request-id"])["output_tokens"] == 4
    streamed = stream(tenant, script=uncounted, echo=True)
    streamed.check()
    assert streamed.text() == prompt + "one two three"
    assert usage.one(streamed.request_id)["output_tokens"] == 4


def test_with_no_tokens_at_all_the_prompt_comes_back_alone(tenant, engine, usage):
    answer = ask(tenant, "Once upon", echo=True, max_tokens=0)
    assert texts(answer) == ["Once upon"]
    assert usage.one(answer.headers["x-request-id"])["output_tokens"] == 0


def test_every_family_completes(tenant, engine):
    for path in paths(tenant):
        assert texts(ask(tenant, path=path.replace("chat/", ""))) == ["one two three"]


@pytest.mark.parametrize("mode", ["embed", "score"])
def test_an_endpoint_of_another_mode_completes_nothing(make_tenant, tenant, engine, mode):
    other = make_tenant(tenant.project, task_mode=mode)
    expect_error(ask(other), 400, "task_mode_mismatch", param="model")


# The length of prompts and answers


def test_more_than_the_context_is_lowered_by_the_longest_prompt(tenant, engine):
    answer = ask(tenant, ["x" * 8_000, "y"], max_tokens=1_000_000)
    assert answer.status_code == 200
    assert answer.headers["x-xerotier-clamped"] == f"max_tokens=1000000->{4096 - 2000}"
    assert engine.record(answer.headers["x-request-id"])["body"]["max_tokens"] == 4096 - 2000


@pytest.mark.parametrize("prompt, param", [("word " * 6_000, "prompt"), (["a", "word " * 6_000], "prompt[1]"), ([1] * 4_097, "prompt"), ([[1], [1] * 4_097], "prompt[1]")], ids=["text", "texts", "ids", "lists"])
def test_a_prompt_over_the_context_is_refused_by_name(tenant, engine, usage, prompt, param):
    answer = ask(tenant, prompt)
    expect_error(answer, 400, "context_length_exceeded", param=param)
    assert engine.records(answer.headers["x-request-id"]) == []
    usage.none(answer.headers["x-request-id"])


def test_the_engines_own_too_long_names_the_prompt(tenant, engine):
    engine.behave(context_length=10)
    expect_error(ask(tenant, "word " * 100), 400, "context_length_exceeded", param="prompt")


def test_all_answers_to_all_prompts_are_held_and_share_what_can_be_paid(make_tenant, engine):
    """Three prompts of two bytes are held as three tokens; each of six answers may then have twenty."""
    poor = make_tenant(Project.create("poor", credit=dollars((3 + 6 * 20) * DEMO_TOKEN)))
    answer = ask(poor, ["ab", "cd", "ef"], n=2, max_tokens=50)
    assert answer.status_code == 200
    assert answer.headers["x-xerotier-clamped"] == "max_tokens=50->20"
    assert engine.record(answer.headers["x-request-id"])["body"]["max_tokens"] == 20


def test_a_project_that_cannot_pay_for_all_answers_is_refused(make_tenant, engine):
    poor = make_tenant(Project.create("poor", credit=dollars(40 * DEMO_TOKEN)))
    before = engine.sequence
    expect_error(ask(poor, ["ab", "cd", "ef"], n=2, max_tokens=50), 402, "insufficient_credits")
    assert engine.records(since=before) == []
    assert ask(poor, "ab", max_tokens=16).status_code == 200


# Streams


@pytest.mark.parametrize("include_usage", [False, True])
@pytest.mark.parametrize("quirk", ["openai", "vllm", "llama.cpp"])
def test_a_stream_and_a_body_say_the_same(tenant, engine, usage, quirk, include_usage):
    prompts = [script(text="one two", quirk=quirk), script(text="three four five", quirk=quirk)]
    options = {"stream_options": {"include_usage": True}} if include_usage else {}
    streamed = stream(tenant, prompts, n=2, **options)
    streamed.check(choices=4, include_usage=include_usage)
    whole = ask(tenant, prompts, n=2)
    assert [streamed.text(index) for index in range(4)] == texts(whole) == ["one two", "one two", "three four five", "three four five"]
    assert set(streamed.finish_reasons().values()) == {"stop"}
    row = usage.one(streamed.request_id)
    assert (row["surface"], row["is_stream"], row["output_tokens"]) == ("completions", True, 10)
    assert row["input_tokens"] == sum(-(-len(prompt) // 4) for prompt in prompts)
    assert row["cost_nano"] == (row["input_tokens"] + 10) * DEMO_TOKEN
    if include_usage:
        assert streamed.usage["completion_tokens"] == 10


def test_chunks_have_the_documented_members_alone(tenant, engine):
    streamed = stream(tenant, headers={"X-Xerotier-Events": "on"})
    streamed.check()
    for chunk in streamed.chunks:
        assert set(chunk) == {"id", "object", "created", "model", "system_fingerprint", "choices"}
        assert [set(choice) for choice in chunk["choices"]] == [{"index", "text", "logprobs", "finish_reason"}]


def test_streamed_logprobs_are_those_of_a_body(tenant, engine):
    whole = choices(ask(tenant, logprobs=1))[0]["logprobs"]
    streamed = stream(tenant, logprobs=1)
    streamed.check()
    parts = [choice["logprobs"] for choice in streamed.choices() if choice["logprobs"]]
    assert {name: [value for part in parts for value in part[name]] for name in whole} == whole


@pytest.mark.parametrize("cut", [{"how": how, "after_chunks": 2} for how in ("reset", "end")], ids=str)
def test_a_cut_stream_ends_with_an_error_frame_and_its_tokens_are_billed(tenant, engine, usage, cut):
    streamed = stream(tenant, script={"text": "one two three four", "cut": cut})
    streamed.check_broken(("stream_interrupted",))
    assert streamed.text() == "one two "
    row = usage.one(streamed.request_id)
    assert (row["status_code"], row["error_code"], row["output_tokens"], row["cost_nano"]) == (200, "stream_interrupted", 2, 2 * DEMO_TOKEN)


def test_a_choice_without_its_end_is_enough_to_break_a_stream(tenant, engine):
    streamed = stream(tenant, [own("one"), script(text="two", finish_reason=None), own("three")])
    streamed.check_broken(("stream_interrupted",))


def test_an_answer_to_some_of_the_prompts_is_none(tenant, engine, usage):
    answer = ask(tenant, [script(text="one", choices=1), own("two")])
    expect_error(answer, 502, "upstream_invalid_response")
    assert usage.one(answer.headers["x-request-id"])["cost_nano"] == 0


@pytest.mark.parametrize("raw", ['{"choices":[]}', '{"choices":[{"index":0,"text":1,"finish_reason":"stop"}]}', '{"choices":[{"index":0,"text":"a"}]}', '{"choices":[{"index":0,"text":"a","finish_reason":"tool_calls"}]}', '{"choices":[{"index":1,"text":"a","finish_reason":"stop"}]}', "[]", "{"], ids=repr)
def test_what_is_no_completion_is_a_fault_of_the_engine(tenant, engine, usage, raw):
    answer = ask(tenant, script={"raw_body": raw})
    expect_error(answer, 502, "upstream_invalid_response")
    assert usage.one(answer.headers["x-request-id"])["cost_nano"] == 0


def test_a_client_that_leaves_pays_for_what_was_said(tenant, stack, engine, usage):
    call = RawCall(stack.http_address)
    said = {"tokens": ["abc "], "repeat": 1000, "delay_ms": 10}
    call.post_json(PATH, body(tenant, script=said, stream=True, max_tokens=1000), tenant.key.key)
    call.read_until(b"abc ")
    request_id = call.header("x-request-id")
    call.close()
    record = engine.wait_for_end(request_id)
    assert record["end"] == "client closed"
    row = usage.one(request_id, seconds=30)
    assert (row["status_code"], row["cut_by_client"], row["error_code"]) == (499, True, "client_closed_request")
    assert 0 < row["output_tokens"] < 1000 and row["cost_nano"] > 0


@pytest.mark.parametrize("status", [500, 503])
def test_a_failing_engine_is_a_fault_and_costs_nothing(tenant, engine, usage, status):
    answer = ask(tenant, script={"status": status})
    assert answer.status_code in (502, 503)
    assert usage.one(answer.headers["x-request-id"])["cost_nano"] == 0


def test_a_retry_before_the_first_byte_is_not_seen(tenant, engine):
    answer = ask(tenant, script={"by_attempt": [{"status": 503}, {"text": "at last"}]})
    assert texts(answer) == ["at last"]


# Idempotency


def test_a_completion_is_answered_once_and_billed_once(tenant, engine, usage):
    header = {"Idempotency-Key": secrets.token_hex(8)}
    first, second = (ask(tenant, headers=header) for _ in range(2))
    assert first.content == second.content and second.headers["idempotent-replayed"] == "true"
    assert len(engine.records(first.headers["x-request-id"])) == 1
    usage.one(first.headers["x-request-id"])


def test_a_stream_is_replayed_as_one_of_the_same_content(tenant, engine, usage):
    header = {"Idempotency-Key": secrets.token_hex(8)}
    prompts = [own("one two three four"), own("five six seven")]
    first, second = (stream(tenant, prompts, headers=header, stream_options={"include_usage": True}) for _ in range(2))
    for each in (first, second):
        each.check(choices=2, include_usage=True)
        assert [each.text(index) for index in range(2)] == ["one two three four", "five six seven"]
    assert second.headers["idempotent-replayed"] == "true" and second.request_id == first.request_id
    assert len(second.chunks) == 5 < len(first.chunks)
    usage.one(first.request_id)


# The official SDK


def test_the_sdk_completes(client, engine):
    made = client.completions.create(model="talk", prompt=script(**SAID), max_tokens=8, seed=7)
    assert (made.object, made.choices[0].text, made.choices[0].finish_reason) == ("text_completion", "one two three", "stop")
    assert made.usage.completion_tokens == 3 and made._request_id.startswith("req_")
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="talk", prompt="hi", logprobs=6)
    assert (caught.value.param, caught.value.code) == ("logprobs", "invalid_value")


def test_the_sdk_streams(client, engine):
    prompts = [own("one two"), own("three")]
    chunks = list(client.completions.create(model="talk", prompt=prompts, stream=True, stream_options={"include_usage": True}))
    said = ["".join(choice.text for chunk in chunks for choice in chunk.choices if choice.index == index) for index in range(2)]
    assert said == ["one two", "three"] and chunks[-1].usage.completion_tokens == 3


def test_the_sdk_raises_on_a_cut_stream(client, engine):
    with pytest.raises(openai.APIError):
        list(client.completions.create(model="talk", prompt=script(text="one two three", cut={"how": "reset", "after_chunks": 2}), stream=True))


def test_what_the_rows_cost_is_what_the_ledger_took(make_tenant, engine, usage, ledger):
    shop = make_tenant()
    ask(shop, ["one", "two"], n=2, service_tier="flex")
    stream(shop).check()
    ledger.check(shop.project.id, usage.of_project(shop.project.id))
    assert {json.dumps(row["multiplier_bp"]) for row in usage.of_project(shop.project.id)} == {"7500", "10000"}
