"""Embeddings on the scripted engine (spec 02 §14)."""

import base64
import struct

import openai
import pytest

from harness.calls import expect_error
from harness.tenants import Project
from ScriptedEngine.embeddings import SIZE, vector

PATH = "/v1/embeddings"


@pytest.fixture(scope="module")
def shop(make_tenant):
    """A project with an endpoint that makes embeddings; its context is 4,096 tokens."""
    return make_tenant(Project.create("e2e-vectors"), task_mode="embed")


def ask(shop, given, **values):
    return shop.caller.post(PATH, {"model": shop.endpoint.slug, "input": given, **values})


def vectors(answer) -> list:
    assert answer.status_code == 200, answer.text
    return [each["embedding"] for each in answer.json()["data"]]


def floats(text: str) -> list:
    data = base64.b64decode(text, validate=True)
    return list(struct.unpack(f"<{len(data) // 4}f", data))


@pytest.mark.parametrize("given", ["hello", ["hello"], ["hello", "world"], [1, 2, 3], [[1, 2, 3], [4]]], ids=str)
def test_every_form_of_input_has_its_vectors_in_order(shop, usage, given):
    answer = ask(shop, given)
    inputs = given if isinstance(given[0], (str, list)) and isinstance(given, list) else [given]
    assert vectors(answer) == [vector(each) for each in inputs]
    body = answer.json()
    assert body["model"] == shop.endpoint.model and [each["index"] for each in body["data"]] == list(range(len(inputs)))
    tokens = sum(len(each) if isinstance(each, list) else (len(each) + 3) // 4 for each in inputs)
    assert body["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    row = usage.one(answer.headers["x-request-id"])
    assert (row["surface"], row["input_tokens"], row["output_tokens"], row["status_code"]) == ("embeddings", tokens, 0, 200)
    assert row["cost_nano"] > 0
    for name in ("x-ratelimit-remaining-requests", "x-xerotier-worker-id", "x-xerotier-routed-endpoint"):
        assert name in answer.headers


def test_an_endpoint_is_found_by_url_alone(shop):
    root = f"/{shop.project.slug}/{shop.endpoint.slug}/v1/embeddings"
    assert vectors(shop.caller.post(root, {"model": "anything", "input": "hi"})) == [vector("hi")]


@pytest.mark.parametrize("fault", ["", "fault: form", "fault: backwards"])
@pytest.mark.parametrize("form", ["float", "base64"])
def test_vectors_come_in_the_form_that_was_asked_for_whatever_the_engine_gives(shop, form, fault):
    given = ["one", "two", "three"] + ([fault] if fault else [])
    found = vectors(ask(shop, given, encoding_format=form))
    assert [floats(each) if form == "base64" else each for each in found] == [vector(each) for each in given]


def test_many_inputs_go_in_calls_of_64_and_come_back_as_one_list(shop, usage, engine):
    engine.control("DELETE", "/__records")
    given = [f"text {number}" for number in range(150)]
    answer = ask(shop, given)
    assert vectors(answer) == [vector(each) for each in given]
    assert [len(record["body"]["input"]) for record in engine.records(answer.headers["x-request-id"])] == [64, 64, 22]
    assert usage.one(answer.headers["x-request-id"])["input_tokens"] == answer.json()["usage"]["prompt_tokens"]
    assert len(vectors(ask(shop, ["x"] * 2_048))) == 2_048


def test_dimensions_are_those_of_the_model_or_refused_and_not_billed(shop, usage):
    assert vectors(ask(shop, "hi", dimensions=SIZE)) == [vector("hi")]
    assert vectors(ask(shop, "hi", dimensions=4)) == [vector("hi", 4)]
    refused = ask(shop, "hi", dimensions=SIZE + 1)
    expect_error(refused, 400, "unsupported_parameter", param="dimensions")
    row = usage.one(refused.headers["x-request-id"])
    assert (row["status_code"], row["cost_nano"], row["input_tokens"]) == (400, 0, 0)


BAD = [
    ({"input": ...}, "input", "missing_required_parameter"),
    ({"input": None}, "input", "missing_required_parameter"),
    ({"input": ""}, "input", "invalid_value"),
    ({"input": []}, "input", "invalid_value"),
    ({"input": 1}, "input", "invalid_value"),
    ({"input": {}}, "input", "invalid_value"),
    ({"input": ["a", ""]}, "input[1]", "invalid_value"),
    ({"input": ["a", [1]]}, "input[1]", "invalid_value"),
    ({"input": ["a", 1]}, "input[1]", "invalid_value"),
    ({"input": [[1], []]}, "input[1]", "invalid_value"),
    ({"input": [1, -1]}, "input[1]", "invalid_value"),
    ({"input": [1, "a"]}, "input[1]", "invalid_value"),
    ({"input": [[1], [1.5]]}, "input[1][0]", "invalid_value"),
    ({"input": ["x"] * 2_049}, "input", "invalid_value"),
    ({"input": [1] * 2_049}, "input", "invalid_value"),
    ({"input": "long " * 6_000}, "input", "context_length_exceeded"),
    ({"input": ["x" * 2_000] * 700}, "input", "invalid_value"),
    ({"encoding_format": "hex"}, "encoding_format", "invalid_value"),
    ({"encoding_format": 1}, "encoding_format", "invalid_value"),
    ({"dimensions": 0}, "dimensions", "invalid_value"),
    ({"dimensions": "8"}, "dimensions", "invalid_value"),
    ({"user": 1}, "user", "invalid_value"),
    ({"user": "u" * 513}, "user", "invalid_value"),
    ({"service_tier": "best"}, "service_tier", "invalid_value"),
    ({"stream": True}, "stream", "invalid_value"),
    ({"model": ...}, "model", "missing_required_parameter"),
]


@pytest.mark.parametrize("values, param, code", BAD, ids=[f"{index}-{param}" for index, (_, param, _) in enumerate(BAD)])
def test_bad_input_is_refused_by_name_and_reaches_no_engine(shop, usage, engine, values, param, code):
    engine.control("DELETE", "/__records")
    body = {"model": shop.endpoint.slug, "input": "hi", **values}
    answer = shop.caller.post(PATH, {name: value for name, value in body.items() if value is not ...})
    expect_error(answer, 400, code, param=param)
    assert engine.records() == []
    usage.none(answer.headers["x-request-id"])


def test_a_chat_endpoint_makes_no_embeddings(make_tenant, shop):
    talk = make_tenant(shop.project)
    expect_error(ask(talk, "hi"), 400, "task_mode_mismatch", param="model")
    expect_error(shop.chat("hi"), 400, "task_mode_mismatch", param="model")


@pytest.mark.parametrize("fault", ["short", "twice", "size", "nothing", "nan", "place"])
def test_an_answer_that_lacks_something_is_none_at_all(shop, usage, fault):
    """All or nothing: the fault stands in the second of three calls."""
    given = [f"text {number}" for number in range(150)]
    given[100] = f"fault: {fault}"
    answer = ask(shop, given)
    expect_error(answer, 502, "upstream_invalid_response")
    row = usage.one(answer.headers["x-request-id"])
    assert (row["status_code"], row["cost_nano"]) == (502, 0)


def test_tokens_that_the_engine_does_not_count_are_estimated(shop, usage):
    answer = ask(shop, ["fault: uncounted", "12345678"])
    assert answer.json()["usage"]["prompt_tokens"] == 4 + 2
    assert usage.one(answer.headers["x-request-id"])["input_tokens"] == 6


def test_a_failing_engine_is_a_fault_and_costs_nothing(shop, usage, engine):
    engine.behave(all_status=401)
    try:
        answer = ask(shop, "hi")
    finally:
        engine.behave_well()
    expect_error(answer, 502, "upstream_error")
    assert usage.one(answer.headers["x-request-id"])["cost_nano"] == 0


def test_a_project_without_credit_is_refused(make_tenant, engine):
    poor = make_tenant(Project.create("e2e-poor", credit=None), task_mode="embed")
    engine.control("DELETE", "/__records")
    expect_error(ask(poor, "hi"), 402, "insufficient_credits")
    assert engine.records() == []


def test_what_the_rows_cost_is_what_the_ledger_took(shop, usage, ledger):
    ask(shop, ["one", "two"], service_tier="flex")
    ledger.check(shop.project.id, usage.of_project(shop.project.id))


@pytest.mark.parametrize("more", [{}, {"encoding_format": "float"}], ids=["base64", "float"])
def test_the_sdk_makes_embeddings(shop, stack, sdk_http, engine, more):
    """It asks for base64 unasked, and shows floats either way."""
    client = openai.OpenAI(base_url=stack.https_url, api_key=shop.key.key, max_retries=0, http_client=sdk_http)
    engine.control("DELETE", "/__records")
    made = client.embeddings.create(model=shop.endpoint.slug, input=["one", "two"], **more)
    assert [list(each.embedding) for each in made.data] == [vector("one"), vector("two")]
    assert [record["body"]["encoding_format"] for record in engine.records()] == [more.get("encoding_format", "base64")]
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model=shop.endpoint.slug, input="")
    assert caught.value.param == "input"
