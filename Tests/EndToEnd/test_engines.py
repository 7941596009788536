"""Whose server is behind an endpoint: stated or recognized, and what is done about its habits."""

import re

import pytest

from harness.calls import expect_error, messages, script
from harness.stack import default_engine
from harness.tenants import Project
from harness.together import eventually
from test_endpoints import ENDPOINTS, Owner

LLAMA = {
    "owned_by": "llamacpp", "meta": {"n_vocab": 1000, "n_ctx": 512}, "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
}


@pytest.fixture(scope="module")
def owner(stack) -> Owner:
    return Owner(stack, Project.create("engines"))


def recognized(owner, slug: str, engine: str | None):
    """Waits until the platform has seen whose server it is."""
    eventually(lambda: owner.get(f"{ENDPOINTS}/{slug}").json()["upstream"]["engine_detected"] == engine, seconds=30)


@pytest.fixture
def llama_engine(engines):
    """An engine that says that it is llama.cpp. Other tests' endpoints are on others: they would be taken for llama.cpp's, too, until they are probed anew."""
    engines[2].behave(models=["scripted-model"], model_members=LLAMA)
    yield engines[2]
    engines[2].behave_well()


@pytest.fixture
def llama(owner, llama_engine):
    """An endpoint on it."""
    slug = owner.active(llama_engine)["slug"]
    recognized(owner, slug, "llama_cpp")
    yield slug
    owner.send("DELETE", f"{ENDPOINTS}/{slug}", None)


def test_an_engine_is_recognized_by_its_list_of_models(owner, llama_engine, llama):
    shown = owner.get(f"{ENDPOINTS}/{llama}").json()["upstream"]
    assert (shown["engine"], shown["engine_detected"]) == ("auto", "llama_cpp")


def test_a_list_that_could_be_anybodys_is_no_engines(owner, engine):
    slug = owner.active(engine)["slug"]
    shown = owner.get(f"{ENDPOINTS}/{slug}").json()["upstream"]
    assert (shown["engine"], shown["engine_detected"]) == ("auto", None)


def test_what_an_endpoint_states_holds(owner, llama_engine, llama):
    assert owner.chat(llama, script(text="a"), logprobs=True).status_code == 200
    answer = owner.patch(llama, {"upstream": {"engine": "openai"}})
    assert answer.json()["upstream"]["engine"] == "openai"
    sent = eventually(lambda: asked(owner, llama_engine, llama, logprobs=True, without="top_logprobs"))
    assert sent["logprobs"] is True
    assert owner.patch(llama, {"upstream": {"engine": None}}).json()["upstream"]["engine"] == "auto"


def asked(owner, engine, slug, without: str, **values):
    """What the engine was asked, once it lacks that member."""
    answer = owner.chat(slug, script(text="a"), **values)
    sent = engine.record(answer.headers["x-request-id"])["body"]
    return sent if without not in sent else None


def test_logprobs_have_no_alternatives_that_nobody_asked_for(owner, llama_engine, llama):
    answer = owner.chat(llama, script(text="a b", quirk="llama.cpp"), logprobs=True)
    assert [token["top_logprobs"] for token in answer.json()["choices"][0]["logprobs"]["content"]] == [[], []]
    answer = owner.chat(llama, script(text="a b", quirk="llama.cpp"), logprobs=True, top_logprobs=2)
    assert [len(token["top_logprobs"]) for token in answer.json()["choices"][0]["logprobs"]["content"]] == [2, 2]


def test_a_token_outside_the_vocabulary_is_refused(owner, llama_engine, llama, usage):
    assert owner.chat(llama, script(text="a"), logit_bias={"999": 1}).status_code == 200
    answer = owner.chat(llama, script(text="a"), logit_bias={"1000": 1})
    expect_error(answer, 400, "invalid_value", param="logit_bias")
    assert llama_engine.records(answer.headers["x-request-id"]) == []
    usage.none(answer.headers["x-request-id"])


def test_token_ids_outside_the_vocabulary_and_inputs_over_the_context_make_no_embedding(owner, llama_engine, llama, usage):
    slug = owner.active(llama_engine, task_mode="embed")["slug"]
    recognized(owner, slug, "llama_cpp")

    def embed(given):
        return owner.post("/v1/embeddings", {"model": slug, "input": given})

    assert embed([[1], [5, 999]]).status_code == 200
    for given, code, param in (([[1], [5, 1000]], "invalid_value", "input[1][1]"), ([[5] * 513], "context_length_exceeded", "input[0]")):
        refused = eventually(lambda: (got := embed(given)).status_code == 400 and got)
        expect_error(refused, 400, code, param=param)
        assert llama_engine.records(refused.headers["x-request-id"]) == []
        usage.none(refused.headers["x-request-id"])


def test_the_context_that_the_engine_reports_bounds_the_answer(owner, llama_engine, llama):
    answer = owner.chat(llama, script(text="a"), max_tokens=4000)
    assert answer.status_code == 200 and answer.headers["x-xerotier-clamped"].startswith("max_tokens=4000->")
    assert llama_engine.record(answer.headers["x-request-id"])["body"]["max_tokens"] < 512
    expect_error(owner.chat(llama, "x" * 8000), 400, "context_length_exceeded", param="messages")


@pytest.mark.parametrize("choices", [1, 3])
@pytest.mark.parametrize("stream", [False, True])
def test_every_choice_of_llama_cpp_is_counted(owner, llama_engine, llama, usage, choices, stream):
    said = script(text="one two three four", quirk="llama.cpp")
    if stream:
        answer = owner.stream("/v1/chat/completions", {"model": llama, "messages": messages(said), "n": choices, "stream": True, "stream_options": {"include_usage": True}})
        answer.check(include_usage=True, choices=choices)
        counted, request_id = answer.usage, answer.request_id
    else:
        answer = owner.chat(llama, said, n=choices)
        counted, request_id = answer.json()["usage"], answer.headers["x-request-id"]
    assert counted["completion_tokens"] == 4 * choices
    assert usage.one(request_id)["output_tokens"] == 4 * choices


def test_an_image_that_the_engine_refuses_with_a_500_is_the_clients_fault(tenant, engine, usage):
    said = script(status=500, error={"code": 500, "message": "image input is not supported - hint: you may need to provide the mmproj", "type": "server_error"})
    answer = tenant.chat(said)
    expect_error(answer, 400, "unsupported_content", param="messages")
    assert len(engine.records(answer.headers["x-request-id"])) == 1
    assert usage.one(answer.headers["x-request-id"])["cost_nano"] == 0


def test_a_member_that_llama_cpp_names_in_its_message_is_the_param(tenant, engine):
    said = script(status=400, error={"code": 400, "message": "Field 'n': Value must be between 1 <= value <= 4, but got 8", "type": "invalid_request_error"})
    expect_error(tenant.chat(said, n=8), 400, "invalid_request", param="n")


def test_the_default_engine_is_recognized(owner):
    url, name = default_engine()
    made = owner.post(ENDPOINTS, {"slug": "real", "tier": "demo", "upstream": {"url": url, "model": name}})
    assert made.status_code == 201, made.text
    recognized(owner, "real", "llama_cpp")


@pytest.fixture(scope="module")
def caching(make_tenant, engines):
    """Two projects on one server that is vLLM."""
    return [make_tenant(upstream_url=engines[0].url, engine="vllm") for _ in range(2)]


def salt(engine, tenant, **values) -> str:
    answer = tenant.chat(script={"text": "a"}, **values)
    return engine.record(answer.headers["x-request-id"])["body"]["cache_salt"]


def test_a_cache_that_projects_share_is_salted_for_each(caching, engine):
    mine, theirs = [[salt(engine, tenant) for _ in range(2)] for tenant in caching]
    assert mine[0] == mine[1] != theirs[0] == theirs[1]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22}", each) for each in mine + theirs)


def test_a_clients_own_salt_has_no_effect(caching, engine):
    assert salt(engine, caching[0], cache_salt="guessed") == salt(engine, caching[0])


def test_without_the_cache_no_two_salts_are_the_same(caching, engine):
    assert len({salt(engine, caching[0], headers={"X-Xerotier-Prefix-Cache": value}) for value in ("off", "off", "on")}) == 3


def test_an_endpoint_without_the_cache_has_a_salt_for_each_request(owner, engine):
    slug = owner.active(engine, prefix_cache=False, upstream={"url": engine.url, "model": "scripted-model", "engine": "vllm"})["slug"]
    salts = set()
    for _ in range(2):
        answer = owner.chat(slug, script(text="a"))
        salts.add(engine.record(answer.headers["x-request-id"])["body"]["cache_salt"])
    assert len(salts) == 2


def test_engines_that_know_no_salt_get_none(tenant, engine):
    answer = tenant.chat(script={"text": "a"}, cache_salt="mine")
    assert "cache_salt" not in engine.record(answer.headers["x-request-id"])["body"]
