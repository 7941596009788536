"""The JSON Schemas of the vendor events (spec 02 §4) that a chat stream can carry now."""

from jsonschema import Draft202012Validator

COMMON = {
    "type": {"type": "string"},
    "id": {"type": "string", "pattern": "^chatcmpl-[0-9a-z]{24}$"},
    "seq": {"type": "integer", "minimum": 0},
    "choices": {"type": "array", "maxItems": 0},
}

INTEGER = {"type": "integer"}
STRING = {"type": "string"}

REASONING = {
    "required": ["index", "delta"],
    "properties": {"index": INTEGER, "delta": STRING, "done": {"type": "boolean"}, "tokens": INTEGER},
}

METADATA = {
    "required": ["routing", "usage"],
    "properties": {
        "routing": {
            "type": "object",
            "required": ["worker_id", "region", "tier", "decision_ms", "attempts", "explored"],
            "properties": {
                "worker_id": STRING,
                "region": STRING,
                "tier": STRING,
                "service_tier": STRING,
                "decision_ms": {"type": "number"},
                "queue_ms": {"type": "number"},
                "attempts": INTEGER,
                "explored": {"type": "boolean"},
                "migrated": INTEGER,
                "score": {"type": "number"},
                "signals": {"type": "object", "additionalProperties": {"type": "number"}},
            },
        },
        "usage": {
            "type": "object",
            "properties": {
                "input_tokens": INTEGER,
                "cached_tokens": INTEGER,
                "output_tokens": INTEGER,
                "reasoning_tokens": INTEGER,
                "cost_usd": STRING,
            },
        },
        "web_search": {"type": "object"},
        "tools": {"type": "object"},
        "memory": {"type": "object"},
        "timing": {"type": "object", "properties": {"ttft_ms": INTEGER, "total_ms": INTEGER}},
        "clamped": {"type": "object"},
        "usage_estimated": {"type": "boolean"},
        "stop_detail": {"type": ["string", "null"]},
    },
}

EVENTS = {"x_chat.reasoning": REASONING, "x_chat.metadata": METADATA}


def check_event(name: str, value: dict):
    assert name in EVENTS, f"{name} is no event of this part"
    event = EVENTS[name]
    schema = {
        "type": "object",
        "additionalProperties": False,
        "required": ["type", "id", "seq", "choices", *event["required"]],
        "properties": {**COMMON, **event["properties"]},
    }
    errors = [error.message for error in Draft202012Validator(schema).iter_errors(value)]
    assert not errors, f"{name}: {errors} in {value}"
    assert value["type"] == name


def check_metadata(value: dict):
    """`x_metadata` of a body: the same object as the event's payload, whatever of the common members it has."""
    schema = {
        "type": "object",
        "additionalProperties": False,
        "required": METADATA["required"],
        "properties": {**COMMON, **METADATA["properties"]},
    }
    errors = [error.message for error in Draft202012Validator(schema).iter_errors(value)]
    assert not errors, f"x_metadata: {errors} in {value}"
