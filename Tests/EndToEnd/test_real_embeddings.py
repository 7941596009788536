"""Embeddings of the default engine's MiniLM (spec 02 §14)."""

import math

import openai
import pytest

from harness.calls import expect_error
from harness.stack import default_engine
from harness.tenants import Project
from harness.together import eventually

SIZE = 384
PATH = "/v1/embeddings"


@pytest.fixture(scope="module")
def real(make_tenant):
    url, name = default_engine("XEROTIER_ENGINE_EMBEDDINGS_URL")
    tenant = make_tenant(Project.create("e2e-minilm"), upstream_url=url, upstream_model=name, task_mode="embed", context_length=None, max_concurrent=4)
    # The platform looks at new endpoints every few seconds; once it knows the engine it knows its context and its tokens.
    eventually(lambda: ask(tenant, [99_999_999]).status_code == 400, seconds=60)
    return tenant


@pytest.fixture(scope="module")
def sdk(real, stack, sdk_http):
    return openai.OpenAI(base_url=stack.https_url, api_key=real.key.key, max_retries=0, http_client=sdk_http)


def ask(real, given, **values):
    return real.caller.post(PATH, {"model": real.endpoint.slug, "input": given, **values}, timeout=120)


def vectors(answer) -> list:
    assert answer.status_code == 200, answer.text
    return [each["embedding"] for each in answer.json()["data"]]


def nearness(left: list, right: list) -> float:
    return sum(map(float.__mul__, left, right)) / math.hypot(*left) / math.hypot(*right)


def test_the_weights_are_the_published_ones(real):
    """The figures stand on the model's card."""
    [first, second] = vectors(ask(real, ["This is an example sentence", "Each sentence is converted"]))
    assert first[:4] == pytest.approx([0.0677, 0.0635, 0.0487, 0.0793], abs=5e-4)
    assert second[:2] == pytest.approx([0.0864, 0.1027], abs=5e-4)


def test_what_means_the_same_is_near(real):
    question, answer, other = vectors(ask(real, ["How do I get my money back?", "Refunds are paid within ten days.", "The recipe needs two eggs."]))
    assert nearness(question, answer) > 0.4 > 0.2 > nearness(question, other)


def test_the_sdk_reads_floats_and_base64_alike(real, sdk, usage):
    given = ["one", "two", "three"]
    by_default = sdk.embeddings.create(model=real.endpoint.slug, input=given)
    floats = sdk.embeddings.create(model=real.endpoint.slug, input=given, encoding_format="float")
    assert [each.index for each in by_default.data] == [0, 1, 2]
    for left, right in zip(by_default.data, floats.data, strict=True):
        assert len(left.embedding) == SIZE and math.hypot(*left.embedding) == pytest.approx(1, abs=1e-5)
        assert left.embedding == pytest.approx(right.embedding, abs=1e-6)
    # [CLS] and [SEP] stand around each word.
    assert by_default.usage.prompt_tokens == floats.usage.prompt_tokens == 9


def test_usage_is_what_the_engine_counted(real, usage):
    answer = ask(real, ["hello", "hello world"])
    row = usage.one(answer.headers["x-request-id"])
    assert (row["surface"], row["input_tokens"], row["output_tokens"], row["status_code"]) == ("embeddings", 3 + 4, 0, 200)
    # A dollar for a million.
    assert row["cost_nano"] == 7_000


def test_token_ids_are_those_of_the_text(real):
    [text, ids] = [vectors(ask(real, given))[0] for given in ["hello", [101, 7592, 102]]]
    assert text == pytest.approx(ids, abs=1e-5)
    both = vectors(ask(real, [[101, 7592, 102], [101, 2088, 102]]))
    assert both[0] == pytest.approx(text, abs=1e-4) and both[1] != both[0]


@pytest.mark.parametrize("given, param", [([101, 30_522], "input[1]"), ([[101], [102, 30_522]], "input[1][1]")])
def test_a_token_that_the_model_has_not_is_refused(real, usage, given, param):
    answer = ask(real, given)
    expect_error(answer, 400, "invalid_value", param=param)
    usage.none(answer.headers["x-request-id"])


def test_64_inputs_have_their_vectors_in_order(real):
    given = [f"Number {index} of the list" for index in range(64)]
    together = vectors(ask(real, given))
    assert len(together) == 64
    for index in (0, 17, 63):
        [alone] = vectors(ask(real, given[index]))
        assert nearness(alone, together[index]) > 0.9999
        assert all(nearness(alone, other) < 0.9999 for place, other in enumerate(together) if place != index)


def test_its_own_size_is_the_only_one(real, usage):
    assert len(vectors(ask(real, "hi", dimensions=SIZE))[0]) == SIZE
    answer = ask(real, "hi", dimensions=256)
    expect_error(answer, 400, "unsupported_parameter", param="dimensions")
    assert usage.one(answer.headers["x-request-id"])["cost_nano"] == 0


@pytest.mark.parametrize("given", ["word " * 512, ["short", "word " * 600], [2088] * 513, "word " * 5_000], ids=["a text", "one of two", "token ids", "far over"])
def test_an_input_over_the_context_is_refused_and_costs_nothing(real, usage, ledger, given):
    """Our estimate refuses what is surely too long; what the engine refuses is told in our words."""
    answer = ask(real, given)
    expect_error(answer, 400, "context_length_exceeded")
    assert answer.json()["error"]["param"].startswith("input")
    assert "batch" not in answer.text
    assert sum(row["cost_nano"] for row in usage.of(answer.headers["x-request-id"])) == 0
    ledger.check(real.project.id, usage.of_project(real.project.id))
