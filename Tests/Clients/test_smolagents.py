"""smolagents by its OpenAIServerModel, unmodified."""

import pytest
from smolagents import OpenAIServerModel, ToolCallingAgent, tool

from answers import CALL, check_rows, weather


@pytest.fixture
def model(stack, tenant, engine):
    return OpenAIServerModel(model_id="talk", api_base=stack.http_url, api_key=tenant.key.key)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_an_agent_uses_a_tool_and_answers(model, engine, rows, streamed):
    """It requires a call in each turn; the answer is a call, too. As the scripted engine obeys no `tool_choice`, it is guided."""
    engine.behave(turns=[
        {"text": '[{"name":"weather","arguments":' + CALL["arguments"] + "}]"},
        {"text": '[{"name":"final_answer","arguments":{"answer":"It is sunny."}}]'},
    ])
    agent = ToolCallingAgent(tools=[tool(weather)], model=model, stream_outputs=streamed, verbosity_level=0)
    result = agent.run("How is the weather in Bern?", return_full_result=True)
    assert (result.state, result.output) == ("success", "It is sunny.")
    assert "sunny in Bern" in [step["observations"] for step in result.steps if step.get("observations")]
    check_rows(rows, 2, streamed)
