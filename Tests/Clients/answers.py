"""What the scripted engine says to the libraries, and what each call of theirs must leave behind."""

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
