"""Rerank and score on the scripted engine (spec 02 §15)."""

import math

import pytest

from harness.calls import expect_error
from harness.tenants import Project
from ScriptedEngine.scores import score

DOCUMENTS = ["apples", "pears", "plums", "apples", "figs"]


@pytest.fixture(scope="module")
def shop(make_tenant):
    """A project with an endpoint that scores; its context is 4,096 tokens."""
    return make_tenant(Project.create("e2e-scores"), task_mode="score")


def rerank(shop, **values):
    body = {"model": shop.endpoint.slug, "query": "fruit", "documents": DOCUMENTS, **values}
    return shop.caller.post("/v1/rerank", {name: value for name, value in body.items() if value is not ...})


def score_of(shop, **values):
    body = {"model": shop.endpoint.slug, "text_1": "fruit", "text_2": DOCUMENTS, **values}
    return shop.caller.post("/v1/score", {name: value for name, value in body.items() if value is not ...})


def ranked(query: str, documents: list) -> list:
    """Highest first, equal ones in their order."""
    return sorted(range(len(documents)), key=lambda index: (-score(query, documents[index]), index))


def test_documents_come_in_the_order_of_their_scores(shop, usage):
    answer = rerank(shop)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert set(body) == {"id", "object", "model", "results", "usage", "meta", "x_truncated"}
    assert (body["object"], body["model"], body["id"]) == ("rerank", shop.endpoint.model, answer.headers["x-request-id"])
    assert body["results"] == [{"index": index, "relevance_score": score("fruit", DOCUMENTS[index])} for index in ranked("fruit", DOCUMENTS)]
    assert body["meta"] == {"billed_units": {"search_units": 1}} and body["x_truncated"] == 0
    tokens = body["usage"]["prompt_tokens"]
    assert body["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens} and tokens > 0
    row = usage.one(answer.headers["x-request-id"])
    assert (row["surface"], row["input_tokens"], row["output_tokens"], row["status_code"]) == ("rerank", tokens, 0, 200)
    assert row["cost_nano"] > 0


def test_the_order_of_rerank_is_that_of_score(shop, usage):
    """More documents than one call of the model server takes."""
    documents = [f"document {number}" for number in range(100)]
    scored = score_of(shop, text_2=documents)
    assert scored.status_code == 200, scored.text
    body = scored.json()
    assert set(body) == {"id", "object", "created", "model", "data", "usage", "x_truncated"}
    assert body["data"] == [{"index": index, "object": "score", "score": score("fruit", text)} for index, text in enumerate(documents)]
    order = [result["index"] for result in rerank(shop, documents=documents).json()["results"]]
    assert order == sorted(range(100), key=lambda index: (-body["data"][index]["score"], index))
    assert usage.one(scored.headers["x-request-id"])["surface"] == "score"


def test_what_is_shown_of_documents(shop):
    mixed = [{"text": "apples", "title": "no matter"}, "pears", {"text": "plums"}]
    texts = ["apples", "pears", "plums"]
    body = rerank(shop, documents=mixed, return_documents=True, top_n=2).json()
    assert [(each["index"], each["document"]) for each in body["results"]] == [
        (index, {"text": texts[index]}) for index in ranked("fruit", texts)[:2]]
    assert len(rerank(shop, top_n=1_000_000).json()["results"]) == len(DOCUMENTS)


@pytest.mark.parametrize("first, second", [("text_1", "text_2"), ("query", "documents"), ("queries", "items")])
def test_texts_are_scored_one_to_many_and_pair_by_pair(shop, first, second):
    def scores(one, two):
        answer = score_of(shop, **{"text_1": ..., "text_2": ..., first: one, second: two})
        assert answer.status_code == 200, answer.text
        return [each["score"] for each in answer.json()["data"]]

    assert scores("a", "b") == [score("a", "b")]
    assert scores("a", ["b", "c"]) == scores(["a"], ["b", "c"]) == [score("a", "b"), score("a", "c")]
    assert scores(["a", "b"], ["c", "d"]) == [score("a", "c"), score("b", "d")]


def test_calls_have_32_pairs(shop, engine):
    engine.control("DELETE", "/__records")
    answer = rerank(shop, documents=[f"d{number}" for number in range(70)])
    assert [len(record["body"]["documents"]) for record in engine.records(answer.headers["x-request-id"])] == [32, 32, 6]
    assert len(rerank(shop, documents=["d"] * 1_000).json()["results"]) == 1_000


def test_long_documents_are_cut_and_counted(shop, engine):
    engine.control("DELETE", "/__records")
    answer = rerank(shop, documents=["short", "é" * 20_000, "x" * 40], max_tokens_per_doc=10)
    assert answer.json()["x_truncated"] == 2
    sent = engine.records(answer.headers["x-request-id"])[0]["body"]["documents"]
    assert sent == ["short", "é" * 15, "x" * 30]
    assert rerank(shop, documents=["y" * 200_000]).json()["x_truncated"] == 1


def test_logits_are_brought_to_0_to_1(shop, engine):
    """llama.cpp gives logits."""
    llama = shop.using(shop.project.endpoint(engine.url, task_mode="score", engine="llama_cpp"))
    found = {each["index"]: each["relevance_score"] for each in rerank(llama).json()["results"]}
    for index, text in enumerate(DOCUMENTS):
        assert math.isclose(found[index], 1 / (1 + math.exp(-score("fruit", text))), rel_tol=1e-12)


BAD = [
    (rerank, {"query": ...}, "query", "missing_required_parameter"),
    (rerank, {"query": ""}, "query", "invalid_value"),
    (rerank, {"query": 1}, "query", "invalid_value"),
    (rerank, {"query": "long " * 6_000}, "query", "context_length_exceeded"),
    (rerank, {"documents": ...}, "documents", "missing_required_parameter"),
    (rerank, {"documents": "one"}, "documents", "invalid_value"),
    (rerank, {"documents": []}, "documents", "invalid_value"),
    (rerank, {"documents": ["a", ""]}, "documents[1]", "invalid_value"),
    (rerank, {"documents": ["a", 1]}, "documents[1]", "invalid_value"),
    (rerank, {"documents": [{"title": "a"}]}, "documents[0].text", "missing_required_parameter"),
    (rerank, {"documents": [{"text": 1}]}, "documents[0].text", "invalid_value"),
    (rerank, {"documents": ["a"] * 1_001}, "documents", "too_many_documents"),
    (rerank, {"top_n": 0}, "top_n", "invalid_value"),
    (rerank, {"top_n": "1"}, "top_n", "invalid_value"),
    (rerank, {"return_documents": 1}, "return_documents", "invalid_value"),
    (rerank, {"max_tokens_per_doc": 0}, "max_tokens_per_doc", "invalid_value"),
    (rerank, {"stream": True}, "stream", "invalid_value"),
    (rerank, {"user": 1}, "user", "invalid_value"),
    (rerank, {"service_tier": "best"}, "service_tier", "invalid_value"),
    (rerank, {"model": ...}, "model", "missing_required_parameter"),
    (score_of, {"text_1": ...}, "text_1", "missing_required_parameter"),
    (score_of, {"text_2": ...}, "text_2", "missing_required_parameter"),
    (score_of, {"text_1": []}, "text_1", "invalid_value"),
    (score_of, {"text_1": ["a", "b"]}, "text_1", "invalid_value"),
    (score_of, {"text_1": {}}, "text_1", "invalid_value"),
    (score_of, {"text_2": ["a", None]}, "text_2[1]", "invalid_value"),
    (score_of, {"text_2": ["a"] * 1_001}, "text_2", "too_many_documents"),
    (score_of, {"stream": True}, "stream", "invalid_value"),
]


@pytest.mark.parametrize("ask, values, param, code", BAD, ids=[f"{index}-{param}" for index, (_, _, param, _) in enumerate(BAD)])
def test_bad_input_is_refused_by_name_and_reaches_no_engine(shop, usage, engine, ask, values, param, code):
    engine.control("DELETE", "/__records")
    answer = ask(shop, **values)
    expect_error(answer, 400, code, param=param)
    assert engine.records() == []
    usage.none(answer.headers["x-request-id"])


def test_a_document_of_more_than_256_kib_is_too_large(shop):
    expect_error(rerank(shop, documents=["a", "b" * ((256 << 10) + 1)]), 413, "request_too_large", param="documents[1]")


def test_a_chat_endpoint_scores_nothing(make_tenant, shop):
    talk = make_tenant(shop.project)
    for ask in (rerank, score_of):
        expect_error(ask(talk), 400, "task_mode_mismatch", param="model")


@pytest.mark.parametrize("ask, name", [(rerank, "documents"), (score_of, "text_2")])
@pytest.mark.parametrize("fault", ["short", "twice", "range", "nothing", "place"])
def test_an_answer_that_lacks_something_is_none_at_all(shop, usage, fault, ask, name):
    """All or nothing: the fault stands in the second of three calls."""
    documents = [f"document {number}" for number in range(70)]
    documents[40] = f"fault: {fault}"
    answer = ask(shop, **{name: documents})
    expect_error(answer, 502, "upstream_invalid_response")
    row = usage.one(answer.headers["x-request-id"])
    assert (row["status_code"], row["cost_nano"]) == (502, 0)


def test_what_the_rows_cost_is_what_the_ledger_took(shop, usage, ledger):
    rerank(shop, service_tier="flex")
    ledger.check(shop.project.id, usage.of_project(shop.project.id))
