"""openai-agents on its model for chat completions, unmodified."""

import asyncio

import pytest
from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool
from openai import AsyncOpenAI

from answers import TOOL_THEN_TEXT, check_rows, weather


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_an_agent_uses_a_tool_and_answers(stack, tenant, engine, rows, streamed):
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
