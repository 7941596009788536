"""The official SDK in the version that the other libraries bring, which is older than that of the end-to-end tests."""

from answers import PERSON, Person, check_rows
from harness.calls import messages, script


def test_the_sdk_parses_a_structure(client, engine, rows):
    answer = client.chat.completions.parse(model="talk", messages=messages(script(text=PERSON)), response_format=Person)
    assert answer.choices[0].message.parsed == Person(name="Ada", age=36)
    check_rows(rows, 1)
