"""instructor, unmodified, which asks for a structure by a tool that the model must call."""

import instructor
from openai import OpenAI

from answers import PERSON, Person, check_rows
from harness.calls import messages, script


def test_a_structure_is_read(stack, tenant, engine, rows):
    client = instructor.from_openai(OpenAI(base_url=stack.http_url, api_key=tenant.key.key))
    said = script(tool_calls=[{"id": "call_1", "name": "Person", "arguments": PERSON}])
    answer = client.chat.completions.create(model="talk", messages=messages(said), response_model=Person)
    assert (answer.name, answer.age) == ("Ada", 36)  # of a subclass that instructor makes
    check_rows(rows, 1)
