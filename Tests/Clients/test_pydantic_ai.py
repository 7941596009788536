"""pydantic-ai, unmodified, with only base URL and key set."""

import asyncio

import pytest
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from answers import PERSON, TOOL_THEN_TEXT, Person, check_rows, weather
from harness.calls import script


@pytest.fixture
def model(stack, tenant, engine):
    return OpenAIChatModel("talk", provider=OpenAIProvider(base_url=stack.http_url, api_key=tenant.key.key))


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_an_agent_uses_a_tool_and_answers(model, rows, streamed):
    agent = Agent(model, tools=[weather])

    async def stream():
        async with agent.run_stream(TOOL_THEN_TEXT) as result:
            return await result.get_output()

    output = asyncio.run(stream()) if streamed else agent.run_sync(TOOL_THEN_TEXT).output
    assert output == "It is sunny."
    check_rows(rows, 2, streamed)


def test_an_agent_answers_with_a_structure(model, rows):
    """It asks for one by a tool that the model must call."""
    said = script(tool_calls=[{"id": "call_1", "name": "final_result", "arguments": PERSON}])
    assert Agent(model, output_type=Person).run_sync(said).output == Person(name="Ada", age=36)
    check_rows(rows, 1)
