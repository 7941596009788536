"""The official SDK, unmodified, with only base_url and api_key changed: sync, async, streamed, over TLS."""

import asyncio
import json
import ssl

import openai
import pytest

from harness.calls import messages, script

TOOLS = [{"type": "function", "function": {"name": "weather", "description": "Says the weather.", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]


def test_a_completion(client, engine):
    answer = client.chat.completions.create(model="talk", messages=messages(script(text="Hello there.")))
    assert answer.choices[0].message.content == "Hello there."
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer._request_id.startswith("req_")


def test_a_stream(client, engine):
    stream = client.chat.completions.create(model="talk", messages=messages(script(text="Hello there.")), stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == "Hello there."
    assert chunks[-1].usage.completion_tokens == 2


@pytest.mark.parametrize("extra", [{}, {"X-Xerotier-Events": "on"}], ids=["plain", "with vendor events"])
def test_the_stream_helper_rebuilds_the_answer(client, engine, extra):
    said = messages(script(text="Hello there.", reasoning=["Hm."]))
    whole = client.chat.completions.create(model="talk", messages=said, seed=1)
    with client.chat.completions.stream(model="talk", messages=said, seed=1, stream_options={"include_usage": True}, extra_headers=extra) as stream:
        for _ in stream:
            pass
        rebuilt = stream.get_final_completion()
    assert rebuilt.choices[0].message.content == whole.choices[0].message.content
    assert rebuilt.choices[0].finish_reason == whole.choices[0].finish_reason
    assert rebuilt.usage == whole.usage


def test_the_stream_helper_rebuilds_tool_calls(client, engine):
    said = messages(script(tool_calls=[{"id": "call_1", "name": "weather", "arguments": '{"city":"Zürich"}', "pieces": 6}]))
    whole = client.chat.completions.create(model="talk", messages=said, tools=TOOLS)
    with client.chat.completions.stream(model="talk", messages=said, tools=TOOLS) as stream:
        for _ in stream:
            pass
        rebuilt = stream.get_final_completion()
    ours, theirs = rebuilt.choices[0].message.tool_calls[0], whole.choices[0].message.tool_calls[0]
    assert (ours.id, ours.function.name, ours.function.arguments) == (theirs.id, theirs.function.name, theirs.function.arguments)


def test_a_round_trip_with_a_tool(client, engine):
    history = messages(script(tool_calls=[{"id": "call_1", "name": "weather", "arguments": '{"city":"Bern"}'}]))
    asked = client.chat.completions.create(model="talk", messages=history, tools=TOOLS).choices[0].message
    history.append(asked.model_dump(exclude_none=True))
    history.append({"role": "tool", "tool_call_id": asked.tool_calls[0].id, "content": "sunny"})
    history.append({"role": "user", "content": script(text="It is sunny.")})
    assert client.chat.completions.create(model="talk", messages=history, tools=TOOLS).choices[0].message.content == "It is sunny."


def test_a_parsed_answer(client, engine):
    from pydantic import BaseModel

    class City(BaseModel):
        name: str
        people: int

    said = messages(script(text=json.dumps({"name": "Bern", "people": 134000})))
    parsed = client.chat.completions.parse(model="talk", messages=said, response_format=City).choices[0].message.parsed
    assert parsed == City(name="Bern", people=134000)


def test_async_calls_run_side_by_side(stack, tenant, engine):
    async def run():
        http = openai.DefaultAsyncHttpxClient(verify=ssl.create_default_context(cafile=stack.ca_file))
        async with openai.AsyncOpenAI(base_url=stack.https_url, api_key=tenant.key.key, max_retries=0, http_client=http) as client:
            async def one(number):
                stream = await client.chat.completions.create(model="talk", messages=messages(script(text=f"I am {number}.", delay_ms=20)), stream=True)
                return "".join([choice.delta.content or "" async for chunk in stream for choice in chunk.choices])

            return await asyncio.gather(*(one(number) for number in range(32)))

    assert asyncio.run(run()) == [f"I am {number}." for number in range(32)]


@pytest.mark.parametrize("family", ["/{slug}/v1", "/{slug}/talk/v1"])
def test_the_other_families_are_base_urls_too(stack, tenant, engine, sdk_http, family):
    base = stack.https_url.removesuffix("/v1") + family.format(slug=tenant.project.slug)
    client = openai.OpenAI(base_url=base, api_key=tenant.key.key, max_retries=0, http_client=sdk_http)
    assert client.chat.completions.create(model="talk", messages=messages(script(text="a"))).choices[0].message.content == "a"
    assert client.models.list().data


@pytest.mark.parametrize("values,error,code", [
    ({"temperature": 9}, openai.BadRequestError, "invalid_value"), ({"model": "none"}, openai.NotFoundError, "model_not_found"),
    ({"messages": messages(script(status=429))}, openai.RateLimitError, "capacity_exceeded"), ({"messages": messages(script(status=401))}, openai.InternalServerError, "upstream_error"),
])
def test_errors_are_the_classes_of_the_sdk(client, engine, values, error, code):
    with pytest.raises(error) as raised:
        client.chat.completions.create(**{"model": "talk", "messages": messages(script(text="a")), **values})
    assert raised.value.code == code
    assert raised.value.request_id.startswith("req_")


def test_a_wrong_key_is_an_authentication_error(stack, engine, sdk_http):
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=stack.https_url, api_key="xero_a_b", max_retries=0, http_client=sdk_http).models.list()


def test_a_wrong_scope_is_a_permission_error(stack, tenant, sdk_http):
    client = openai.OpenAI(base_url=stack.https_url, api_key=tenant.project.key("management").key, max_retries=0, http_client=sdk_http)
    with pytest.raises(openai.PermissionDeniedError):
        client.models.list()


def test_the_sdk_retries_what_it_may(stack, tenant, engine, sdk_http):
    """Three attempts of ours fail, then the SDK's own second call goes through."""
    client = openai.OpenAI(base_url=stack.https_url, api_key=tenant.key.key, max_retries=2, http_client=sdk_http)
    engine.behave(all_status=429)
    with pytest.raises(openai.RateLimitError):
        client.with_options(max_retries=0).chat.completions.create(model="talk", messages=messages("hi"))
    engine.behave_well()
    assert client.chat.completions.create(model="talk", messages=messages("hi")).choices


def test_closing_an_sdk_stream_cancels_the_engine(client, tenant, engine):
    with client.chat.completions.with_streaming_response.create(model="talk", messages=messages(script(tokens=["abc "], repeat=1000, delay_ms=20)), stream=True) as answer:
        next(answer.iter_bytes())
        request_id = answer.headers["x-request-id"]
    assert engine.wait_for_end(request_id)["end"] == "client closed"
