"""Text completions of the small real model: structure, not facts (spec 02 §17)."""

import pytest

from harness.calls import expect_error
from test_completions import PATH, choices, texts
from test_real_model import real  # noqa: F401

SURE = {"temperature": 0, "max_tokens": 6}


def complete(real, prompt, **values):
    return real.caller.post(PATH, {"model": real.endpoint.slug, "prompt": prompt, **SURE, **values}, timeout=120)


def test_prompts_are_completed_whole_and_streamed_and_counted(real, usage):
    prompts = ["Once upon a", "The sea is"]
    whole = complete(real, prompts, n=2)
    said = texts(whole)
    assert len(said) == 4 and all(said)
    # One prompt's answers are alike at temperature 0; prompts differ.
    assert said[0] == said[1] and said[0] != said[2]
    streamed = real.caller.stream(PATH, {"model": real.endpoint.slug, "prompt": prompts, "n": 2, "stream": True, "stream_options": {"include_usage": True}, **SURE}, timeout=120)
    streamed.check(choices=4, include_usage=True)
    assert streamed.usage["completion_tokens"] == 24
    row = usage.one(whole.headers["x-request-id"])
    assert (row["surface"], row["status_code"]) == ("completions", 200)
    assert row["input_tokens"] > 3 and row["output_tokens"] >= 12 and row["cost_nano"] > 0


def test_token_ids_are_a_prompt_and_those_that_the_model_has_not_are_refused(real):
    assert texts(complete(real, [504, 253]))[0]
    assert len(texts(complete(real, [[504, 253], [504]]))) == 2
    expect_error(complete(real, [504, 99_999_999]), 400, "invalid_value", param="prompt[1]")


def test_logprobs_are_those_of_the_tokens_that_were_said(real):
    [choice] = choices(complete(real, "Once upon a", logprobs=2))
    shown = choice["logprobs"]
    assert "".join(shown["tokens"]) == choice["text"]
    assert [choice["text"][offset:].startswith(token) for offset, token in zip(shown["text_offset"], shown["tokens"])] == [True] * len(shown["tokens"])
    for token, logprob, likely in zip(shown["tokens"], shown["token_logprobs"], shown["top_logprobs"]):
        assert likely[token] == logprob <= 0 and 2 <= len(likely) <= 3
    assert [len(likely) for likely in choices(complete(real, "Once upon a", logprobs=0))[0]["logprobs"]["top_logprobs"]] == [1] * 6


def test_a_stop_ends_the_text_before_itself_and_a_seed_says_it_again(real):
    [plain] = texts(complete(real, "Once upon a"))
    [choice] = choices(complete(real, "Once upon a", stop=plain[4]))
    assert (choice["text"], choice["finish_reason"]) == (plain.split(plain[4])[0], "stop")
    wild = {"temperature": 2, "top_p": 1, "max_tokens": 12}
    assert texts(complete(real, "Once", seed=5, **wild)) == texts(complete(real, "Once", seed=5, **wild))


def test_the_engines_own_names_lift_no_limit(real, usage):
    """llama.cpp lets them win over `max_tokens` and `n`."""
    lifted = {"n_predict": 40, "n_cmpl": 3, "max_tokens": 2}
    for answer in (complete(real, "Once upon a", **lifted), real.chat("Tell me about the sea.", **lifted, timeout=120)):
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["choices"]) == 1 and answer.json()["usage"]["completion_tokens"] == 2
        assert usage.one(answer.headers["x-request-id"])["output_tokens"] == 2


@pytest.mark.parametrize("values, param", [({"echo": True}, "echo"), ({"suffix": " the end."}, "suffix")])
def test_what_the_default_engine_would_ignore_is_refused(real, values, param):
    expect_error(complete(real, "Once upon a", **values), 400, "unsupported_parameter", param=param)
