"""Libraries of other people, unmodified, with only base URL and key set: each works through nginx on the scripted engine."""

import asyncio
import json

import pytest
from pydantic import BaseModel

from harness.calls import script

CALL = {"id": "call_1", "name": "weather", "arguments": '{"city":"Bern"}'}
TOOL_THEN_TEXT = script(tool_calls=[CALL], after_tools={"text": "It is sunny."})
PERSON = '{"name":"Ada","age":36}'


class Person(BaseModel):
    name: str
    age: int


def weather(city: str) -> str:
    """Says the weather.

    Args:
        city: Where.
    """
    return f"sunny in {city}"


def check_rows(rows, count: int, streamed: bool = False):
    """Each call has one row that was paid, with tokens both ways."""
    found = rows()
    assert len(found) == count
    for row in found:
        assert (row["status_code"], row["endpoint_slug"], row["is_stream"]) == (200, "talk", streamed)
        assert row["input_tokens"] > 0 and row["output_tokens"] > 0


def test_the_sdk_parses_a_structure(client, engine, rows):
    answer = client.chat.completions.parse(model="talk", messages=[{"role": "user", "content": script(text=PERSON)}], response_format=Person)
    assert answer.choices[0].message.parsed == Person(name="Ada", age=36)
    check_rows(rows, 1)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_langchain_calls_a_tool(stack, tenant, engine, rows, streamed):
    from langchain_openai import ChatOpenAI
    from langchain_core.messages import HumanMessage, ToolMessage

    model = ChatOpenAI(model="talk", base_url=stack.http_url, api_key=tenant.key.key).bind_tools([weather])

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


def test_langchain_reads_a_structure(stack, tenant, engine, rows):
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="talk", base_url=stack.http_url, api_key=tenant.key.key).with_structured_output(Person)
    assert model.invoke(script(text=PERSON)) == Person(name="Ada", age=36)
    check_rows(rows, 1)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_openai_agents_run_a_loop_with_a_tool(stack, tenant, engine, rows, streamed):
    from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool
    from openai import AsyncOpenAI

    async def go():
        async with AsyncOpenAI(base_url=stack.http_url, api_key=tenant.key.key) as client:
            agent = Agent(name="Guide", model=OpenAIChatCompletionsModel(model="talk", openai_client=client), tools=[function_tool(weather)])
            if not streamed:
                return await Runner.run(agent, TOOL_THEN_TEXT)
            result = Runner.run_streamed(agent, TOOL_THEN_TEXT)
            async for _ in result.stream_events():
                pass
            return result

    result = asyncio.run(go())
    assert result.final_output == "It is sunny."
    assert "sunny in Bern" in [item.output for item in result.new_items if item.type == "tool_call_output_item"]
    check_rows(rows, 2, streamed)


def test_instructor_reads_a_structure(stack, tenant, engine, rows):
    import instructor
    from openai import OpenAI

    client = instructor.from_openai(OpenAI(base_url=stack.http_url, api_key=tenant.key.key))
    said = script(tool_calls=[{"id": "call_1", "name": "Person", "arguments": PERSON}])
    answer = client.chat.completions.create(model="talk", messages=[{"role": "user", "content": said}], response_model=Person)
    assert (answer.name, answer.age) == ("Ada", 36)  # of a subclass that instructor makes
    check_rows(rows, 1)


def test_pydantic_ai_runs_a_loop_with_a_tool(stack, tenant, engine, rows):
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    agent = Agent(OpenAIChatModel("talk", provider=OpenAIProvider(base_url=stack.http_url, api_key=tenant.key.key)), tools=[weather])
    assert agent.run_sync(TOOL_THEN_TEXT).output == "It is sunny."
    check_rows(rows, 2)


def test_llama_index_calls_a_tool(stack, tenant, engine, rows):
    from llama_index.core.tools import FunctionTool
    from llama_index.llms.openai_like import OpenAILike

    model = OpenAILike(model="talk", api_base=stack.http_url, api_key=tenant.key.key, is_chat_model=True, is_function_calling_model=True)
    assert model.predict_and_call([FunctionTool.from_defaults(weather)], user_msg=TOOL_THEN_TEXT).response == "sunny in Bern"
    check_rows(rows, 1)


def test_smolagents_call_a_tool(stack, tenant, engine, rows):
    from smolagents import ChatMessage, OpenAIServerModel, tool

    model = OpenAIServerModel(model_id="talk", api_base=stack.http_url, api_key=tenant.key.key)
    answer = model.generate([ChatMessage(role="user", content=TOOL_THEN_TEXT)], tools_to_call_from=[tool(weather)])
    call = answer.tool_calls[0].function
    arguments = json.loads(call.arguments) if isinstance(call.arguments, str) else call.arguments
    assert (call.name, arguments) == ("weather", {"city": "Bern"})
    check_rows(rows, 1)
