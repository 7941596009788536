"""Where our answers may differ from OpenAI's description: spec 01 §6, 02 §2-4 and 04 §1, and nothing else.

A name stands for a schema of `components.schemas`; its members are the ones that we add.
"""

ADDED_MEMBERS = {
    # 02 §2: with X-Xerotier-Events: on
    "CreateChatCompletionResponse": {"x_metadata": {"type": "object"}},
    # 02 §2-3: the reasoning text that engines send beside content
    "ChatCompletionResponseMessage": {"reasoning_content": {"type": ["string", "null"]}},
    # 02 §3: annotations come as one delta
    "ChatCompletionStreamResponseDelta": {
        "reasoning_content": {"type": "string"},
        "annotations": {"type": "array", "items": {"type": "object"}},
    },
    # 03 §3
    "OpenAIFile": {
        "x_relative_path": {"type": "string"},
        "x_sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    },
    # 04 §1 and §3
    "Error": {
        "x_number": {"type": "integer"},
        "x_request_id": {"type": "string", "pattern": "^req_[0-9a-z]{24}$"},
        "x_details": {"type": "object"},
        "retry_after": {"type": "integer", "minimum": 1, "maximum": 3600},
        "retry_strategy": {
            "type": "object",
            "required": ["type", "initial_delay_ms", "max_delay_ms", "multiplier", "jitter"],
        },
    },
}

CHOICE = ["properties", "choices", "items", "properties"]
LISTS = [*CHOICE, "logprobs", "anyOf", 0, "properties"]

# The first token of an echoed prompt follows from nothing, so it has no logprob: OpenAI's servers send null where the description has numbers.
NULLS_OF_TEXT_COMPLETIONS = [[*LISTS, "token_logprobs", "items"], [*LISTS, "top_logprobs", "items"]]

# The description gives whole answers and chunks one shape. In the chunks of its own example, and by its own words on `include_usage`, these are null.
TEXT_COMPLETION_CHUNK = [[*CHOICE, "finish_reason"], ["properties", "usage"]]
