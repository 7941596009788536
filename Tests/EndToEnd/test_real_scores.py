"""Rerank and score of the default engine's cross-encoder (spec 02 §15)."""

import pytest

from harness.calls import expect_error
from harness.stack import default_engine
from harness.tenants import Project
from harness.together import eventually

QUESTION = "How many people live in Berlin?"
DOCUMENTS = [
    "New York City is famous for the Metropolitan Museum of Art.",
    "Berlin is a city in Germany.",
    "Berlin has a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.",
    "Bread needs flour and water.",
]


@pytest.fixture(scope="module")
def real(make_tenant):
    url, name = default_engine("XEROTIER_ENGINE_RERANK_URL")
    tenant = make_tenant(Project.create("e2e-encoder"), upstream_url=url, upstream_model=name, task_mode="score", context_length=512, max_concurrent=4)
    # The platform looks at new endpoints every few seconds; until it knows the engine, its logits are no scores.
    eventually(lambda: rerank(tenant).status_code == 200, seconds=60)
    return tenant


def rerank(real, **values):
    return real.caller.post("/v1/rerank", {"model": real.endpoint.slug, "query": QUESTION, "documents": DOCUMENTS, **values}, timeout=120)


def score(real, **values):
    return real.caller.post("/v1/score", {"model": real.endpoint.slug, "text_1": QUESTION, "text_2": DOCUMENTS, **values}, timeout=120)


def test_the_answer_comes_first(real, usage):
    answer = rerank(real, return_documents=True)
    body = answer.json()
    assert [result["index"] for result in body["results"]][:2] == [2, 1]
    assert body["results"][0]["document"] == {"text": DOCUMENTS[2]}
    scores = [result["relevance_score"] for result in body["results"]]
    # The model's card says that the first is sure, and New York is not asked for.
    assert scores[0] > 0.99 and scores == sorted(scores, reverse=True) and 0 <= scores[-1] < 0.01
    row = usage.one(answer.headers["x-request-id"])
    assert (row["surface"], row["status_code"]) == ("rerank", 200)
    # The query is read once with each document.
    assert row["input_tokens"] == body["usage"]["prompt_tokens"] > 4 * 7
    assert row["cost_nano"] == 1_000 * row["input_tokens"]


def test_scores_are_those_of_rerank_in_the_order_of_the_texts(real):
    by_index = {result["index"]: result["relevance_score"] for result in rerank(real).json()["results"]}
    scored = score(real).json()["data"]
    assert [each["index"] for each in scored] == [0, 1, 2, 3]
    assert [each["score"] for each in scored] == pytest.approx([by_index[index] for index in range(4)], abs=1e-3)


def test_pairs_are_scored_one_by_one(real):
    matched = score(real, text_1=[QUESTION, "What does bread need?"], text_2=[DOCUMENTS[2], DOCUMENTS[3]]).json()["data"]
    crossed = score(real, text_1=[QUESTION, "What does bread need?"], text_2=[DOCUMENTS[3], DOCUMENTS[2]]).json()["data"]
    assert min(each["score"] for each in matched) > max(each["score"] for each in crossed)


def test_more_documents_than_one_call_takes_are_ranked_together(real):
    documents = [f"Bread of kind {number} needs flour." for number in range(40)] + [DOCUMENTS[2]]
    body = rerank(real, documents=documents, top_n=1).json()
    assert [result["index"] for result in body["results"]] == [40]
    assert body["x_truncated"] == 0


def test_a_long_document_is_cut_and_judged_by_its_beginning(real):
    body = rerank(real, documents=[DOCUMENTS[3], DOCUMENTS[2] + " The population continues increasing." * 120]).json()
    assert [result["index"] for result in body["results"]] == [1, 0] and body["x_truncated"] == 1
    assert body["results"][0]["relevance_score"] > 0.1


@pytest.mark.parametrize("filler", [" 1.2.3.4.5.6", " And so on.", "\u3002\u5317\u4eac"], ids=["digits", "short words", "ideographs"])
def test_a_document_of_short_tokens_is_cut_once_more(real, usage, filler):
    """Our estimate of its tokens is too low; the engine says so."""
    documents = [DOCUMENTS[3], DOCUMENTS[2] + filler * 600]
    answer = rerank(real, documents=documents)
    body = answer.json()
    assert [result["index"] for result in body["results"]] == [1, 0] and body["x_truncated"] == 1
    assert usage.one(answer.headers["x-request-id"])["input_tokens"] == body["usage"]["prompt_tokens"] < 2 * 512


def test_a_query_over_the_context_is_refused_and_costs_nothing(real, usage, ledger):
    for query in ["word " * 600, "word " * 3_000]:
        answer = rerank(real, query=query)
        expect_error(answer, 400, "context_length_exceeded", param="query")
        assert sum(row["cost_nano"] for row in usage.of(answer.headers["x-request-id"])) == 0
    ledger.check(real.project.id, usage.of_project(real.project.id))
