"""response_format: checked, passed through (spec 02 §2)."""

import pytest

from harness.calls import expect_error

SCHEMA = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": {
    "type": "object", "properties": {"user_id": {"type": "integer"}}, "required": ["user_id"], "additionalProperties": False}}}


@pytest.mark.parametrize("value", [{"type": "text"}, {"type": "json_object"}, SCHEMA], ids=lambda value: value["type"])
def test_a_good_format_reaches_the_engine_unchanged(tenant, engine, value):
    answer = tenant.chat(script={"text": '{"user_id":1}'}, response_format=value)
    assert engine.record(answer.headers["x-request-id"])["body"]["response_format"] == value


@pytest.mark.parametrize("value", [
    {"type": "json_schema", "json_schema": {}}, {"type": "json_schema", "json_schema": "x"}, {"type": "json_schema", "json_schema": {"name": 5, "schema": {}}},
    {"type": "json_schema", "json_schema": {"name": "a", "schema": "x"}}, {"type": 5}, {"type": None},
], ids=repr)
def test_a_bad_format_is_refused(tenant, engine, value):
    answer = tenant.chat(script={"text": "a"}, response_format=value)
    expect_error(answer, 400, "invalid_value", "missing_required_parameter", "invalid_function_schema", param="response_format")
    assert engine.records(answer.headers["x-request-id"]) == []
