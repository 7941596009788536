"""Text completions that are refused by name: nothing is asked of the engine, and nothing billed (spec 02 §17)."""

import pytest

from harness.calls import expect_error, script
from test_completions import PATH, choices
from test_engines import llama, llama_engine, owner  # noqa: F401

BIASES = {str(token): 1 for token in range(1_025)}

BAD = [
    ({"prompt": ...}, "prompt", "missing_required_parameter"),
    ({"prompt": None}, "prompt", "missing_required_parameter"),
    ({"prompt": []}, "prompt", "invalid_value"),
    ({"prompt": 1}, "prompt", "invalid_value"),
    ({"prompt": {}}, "prompt", "invalid_value"),
    ({"prompt": True}, "prompt", "invalid_value"),
    ({"prompt": ["a", 1]}, "prompt[1]", "invalid_value"),
    ({"prompt": ["a", [1]]}, "prompt[1]", "invalid_value"),
    ({"prompt": [[1], "a"]}, "prompt[1]", "invalid_value"),
    ({"prompt": [1, "a"]}, "prompt[1]", "invalid_value"),
    ({"prompt": [1, -1]}, "prompt[1]", "invalid_value"),
    ({"prompt": [1, 1.5]}, "prompt[1]", "invalid_value"),
    ({"prompt": [[1], []]}, "prompt[1]", "invalid_value"),
    ({"prompt": [[1], [None]]}, "prompt[1][0]", "invalid_value"),
    ({"prompt": ["a"] * 17}, "prompt", "invalid_value"),
    ({"prompt": [[1]] * 17}, "prompt", "invalid_value"),
    ({"model": ...}, "model", "missing_required_parameter"),
    ({"model": "no-such-model"}, "model", "model_not_found"),
    ({"max_tokens": -1}, "max_tokens", "invalid_value"),
    ({"max_tokens": "16"}, "max_tokens", "invalid_value"),
    ({"temperature": 2.5}, "temperature", "invalid_value"),
    ({"top_p": -0.1}, "top_p", "invalid_value"),
    ({"n": 0}, "n", "invalid_value"),
    ({"n": 9}, "n", "invalid_value"),
    ({"stream": "yes"}, "stream", "invalid_value"),
    ({"stream_options": {"include_usage": True}}, "stream_options", "unsupported_combination"),
    ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage", "invalid_value"),
    ({"stream": True, "stream_options": {"x_events": True}}, "stream_options.x_events", "unsupported_parameter"),
    ({"stop": ""}, "stop", "invalid_value"),
    ({"stop": ["a"] * 5}, "stop", "invalid_value"),
    ({"seed": "1"}, "seed", "invalid_value"),
    ({"echo": "yes"}, "echo", "invalid_value"),
    ({"suffix": 1}, "suffix", "invalid_value"),
    ({"logprobs": 6}, "logprobs", "invalid_value"),
    ({"logprobs": -1}, "logprobs", "invalid_value"),
    ({"logprobs": True}, "logprobs", "invalid_value"),
    ({"logit_bias": {"a": 1}}, "logit_bias", "invalid_value"),
    ({"logit_bias": {"1": 101}}, "logit_bias", "invalid_value"),
    ({"logit_bias": BIASES}, "logit_bias", "invalid_value"),
    ({"frequency_penalty": 3}, "frequency_penalty", "invalid_value"),
    ({"presence_penalty": -3}, "presence_penalty", "invalid_value"),
    ({"user": "u" * 513}, "user", "invalid_value"),
    ({"best_of": 2}, "best_of", "unsupported_parameter"),
    ({"best_of": 3, "n": 2}, "best_of", "unsupported_parameter"),
    ({"best_of": 21}, "best_of", "invalid_value"),
    ({"best_of": "1"}, "best_of", "invalid_value"),
    ({"service_tier": "best"}, "service_tier", "invalid_value"),
    *(({name: []}, name, "unsupported_parameter") for name in ("tools", "functions", "x_tools", "x_approvals")),
    *(({name: True}, name, "unsupported_parameter") for name in ("x_memory", "web_search_options")),
]


@pytest.mark.parametrize("values, param, code", BAD, ids=[f"{index}-{param}" for index, (_, param, _) in enumerate(BAD)])
def test_bad_input_is_refused_by_name_and_reaches_no_engine(tenant, usage, engine, values, param, code):
    before = engine.sequence
    body = {"model": tenant.endpoint.slug, "prompt": "hi", **values}
    answer = tenant.caller.post(PATH, {name: value for name, value in body.items() if value is not ...})
    expect_error(answer, 404 if code == "model_not_found" else 400, code, param=param)
    assert engine.records(since=before) == []
    usage.none(answer.headers["x-request-id"])


@pytest.mark.parametrize("content, status, code", [(b"{", 400, "json_parse_error"), (b"[]", 400, "invalid_request")])
def test_a_body_that_is_no_object_is_refused(tenant, engine, content, status, code):
    answer = tenant.caller.call("POST", PATH, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text


def test_a_key_without_the_scope_is_refused(tenant, engine):
    answer = tenant.caller.post(PATH, {"model": "talk", "prompt": "hi"}, key=tenant.project.key("management").key)
    expect_error(answer, 403, "scope_insufficient")


# What llama.cpp's server ignores, gets wrong or says otherwise


def complete(owner, slug: str, prompt, **values):
    return owner.post(PATH, {"model": slug, "prompt": prompt, **values})


def test_what_llama_cpp_would_ignore_is_refused(owner, llama_engine, llama, usage):
    """Its list of models says 1,000 tokens and a context of 512."""
    bad = [
        ({"echo": True}, "echo", "unsupported_parameter"),
        ({"suffix": "the end"}, "suffix", "unsupported_parameter"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"logit_bias": {"1000": 1}}, "logit_bias", "invalid_value"),
        ({"prompt": [999, 1000]}, "prompt[1]", "invalid_value"),
        ({"prompt": [[1], [1, 1000]]}, "prompt[1][1]", "invalid_value"),
        ({"prompt": [1] * 513}, "prompt", "context_length_exceeded"),
        ({"prompt": ["a", "word " * 700]}, "prompt[1]", "context_length_exceeded"),
    ]
    before = llama_engine.sequence
    for values, param, code in bad:
        answer = complete(owner, llama, **{"prompt": "hi", **values})
        expect_error(answer, 400, code, param=param)
        usage.none(answer.headers["x-request-id"])
    assert llama_engine.records(since=before) == []
    for values in ({"echo": False}, {"suffix": ""}, {"best_of": 1}, {"prompt": [999]}):
        assert complete(owner, llama, **{"prompt": "hi", **values}).status_code == 200


def test_llama_cpps_logprobs_are_brought_to_openais_form(owner, llama_engine, llama):
    said = script(text="one two", quirk="llama.cpp")
    answers = [complete(owner, llama, said, logprobs=count) for count in (0, 1, 3)]
    for answer, count in zip(answers, (1, 1, 3)):
        shown = choices(answer)[0]["logprobs"]
        assert (shown["tokens"], shown["text_offset"], shown["token_logprobs"]) == (["one ", "two"], [0, 4], [-0.25, -0.25])
        assert [len(each) for each in shown["top_logprobs"]] == [count] * 2
        assert all(token in each for token, each in zip(shown["tokens"], shown["top_logprobs"]))
    assert [llama_engine.record(answer.headers["x-request-id"])["body"]["logprobs"] for answer in answers] == [1, 1, 3]
    streamed = owner.stream(PATH, {"model": llama, "prompt": said, "logprobs": 1, "stream": True})
    streamed.check()
    assert [choice["logprobs"]["text_offset"] for choice in streamed.choices() if choice["logprobs"]] == [[0], [4]]


@pytest.mark.parametrize("count", [1, 3])
def test_every_prompt_and_choice_of_llama_cpp_is_counted(owner, llama_engine, llama, usage, count):
    """It counts the first prompt's first choice alone, or in streams each choice for itself."""
    prompts = [script(text="one two three", quirk="llama.cpp"), script(text="four five six", quirk="llama.cpp")]
    tokens = sum(-(-len(prompt) // 4) for prompt in prompts)
    values = {"model": llama, "prompt": prompts, "n": count}
    streamed = owner.stream(PATH, {**values, "stream": True, "stream_options": {"include_usage": True}})
    streamed.check(choices=2 * count, include_usage=True)
    whole = owner.post(PATH, values)
    assert len(choices(whole)) == 2 * count
    for request_id, counted in ((streamed.request_id, streamed.usage), (whole.headers["x-request-id"], whole.json()["usage"])):
        row = usage.one(request_id)
        assert (row["input_tokens"], row["output_tokens"]) == (counted["prompt_tokens"], counted["completion_tokens"])
        assert abs(counted["prompt_tokens"] - tokens) <= 1 and counted["completion_tokens"] == 6 * count
