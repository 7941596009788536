"""LlamaIndex by its OpenAILike, unmodified."""

import asyncio

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike

from answers import TOOL_THEN_TEXT, check_rows, weather


@pytest.fixture
def model(stack, tenant, engine):
    return OpenAILike(model="talk", api_base=stack.http_url, api_key=tenant.key.key, is_chat_model=True, is_function_calling_model=True)


def test_a_tool_is_called(model, rows):
    assert model.predict_and_call([FunctionTool.from_defaults(weather)], user_msg=TOOL_THEN_TEXT).response == "sunny in Bern"
    check_rows(rows, 1)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_an_agent_uses_a_tool_and_answers(model, rows, streamed):
    agent = FunctionAgent(tools=[FunctionTool.from_defaults(weather)], llm=model, streaming=streamed)

    async def go():
        return await agent.run(user_msg=TOOL_THEN_TEXT)

    result = asyncio.run(go())
    assert result.response.content == "It is sunny."
    assert [(call.tool_name, call.tool_kwargs, call.tool_output.content) for call in result.tool_calls] == [("weather", {"city": "Bern"}, "sunny in Bern")]
    check_rows(rows, 2, streamed)
