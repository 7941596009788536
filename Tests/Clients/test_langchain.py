"""LangChain, unmodified, with only base URL and key set."""

import pytest
import tiktoken
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from answers import PERSON, TOOL_THEN_TEXT, Person, check_rows, weather
from harness.calls import script
from harness.tenants import Project
from ScriptedEngine.embeddings import vector


@pytest.fixture
def model(stack, tenant, engine):
    return ChatOpenAI(model="talk", base_url=stack.http_url, api_key=tenant.key.key)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_tool_is_called_and_its_result_read(model, rows, streamed):
    model = model.bind_tools([weather])

    def ask(history):
        if not streamed:
            return model.invoke(history)
        pieces = list(model.stream(history))
        whole = pieces[0]
        for piece in pieces[1:]:
            whole += piece
        return whole

    history = [HumanMessage(TOOL_THEN_TEXT)]
    asked = ask(history)
    assert [(call["name"], call["args"]) for call in asked.tool_calls] == [("weather", {"city": "Bern"})]
    history += [asked, ToolMessage(weather(**asked.tool_calls[0]["args"]), tool_call_id=asked.tool_calls[0]["id"])]
    answer = ask(history)
    assert answer.content == "It is sunny."
    if not streamed:  # of a stream, ChatOpenAI asks the usage only at OpenAI's own address
        assert answer.usage_metadata["output_tokens"] > 0
    check_rows(rows, 2, streamed)


def test_a_structure_is_read(model, rows):
    assert model.with_structured_output(Person).invoke(script(text=PERSON)) == Person(name="Ada", age=36)
    check_rows(rows, 1)


@pytest.fixture(scope="module")
def shop(make_tenant):
    """A project with an endpoint that makes embeddings."""
    return make_tenant(Project.create("clients-vectors"), task_mode="embed")


@pytest.mark.parametrize("as_tokens", [True, False], ids=["tokens", "texts"])
def test_embeddings_are_made(stack, shop, engine, usage, monkeypatch, as_tokens):
    """Unless told otherwise, LangChain sends arrays of token ids."""
    # Its tokenizer downloads a vocabulary; the bytes are one, too.
    alphabet = tiktoken.Encoding("bytes", pat_str=".", mergeable_ranks={bytes([byte]): byte for byte in range(256)}, special_tokens={})
    monkeypatch.setattr(tiktoken, "encoding_for_model", lambda _: alphabet)
    made = OpenAIEmbeddings(model=shop.endpoint.slug, base_url=stack.http_url, api_key=shop.key.key, check_embedding_ctx_length=as_tokens)
    before = len(usage.of_project(shop.project.id))
    texts = ["apples", "pears", "plums"]
    sent = [list(text.encode()) if as_tokens else text for text in texts]
    assert made.embed_documents(texts) == [vector(each) for each in sent]
    assert made.embed_query("figs") == vector(list(b"figs") if as_tokens else "figs")
    assert engine.records()[-1]["body"]["input"] == [list(b"figs") if as_tokens else "figs"]
    rows = usage.of_project(shop.project.id)[before:]
    assert [(row["surface"], row["status_code"]) for row in rows] == [("embeddings", 200)] * 2
    assert all(row["cost_nano"] > 0 for row in rows)
