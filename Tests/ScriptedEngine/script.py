"""What one answer of the engine shall be. A script travels in the last user message as `{"script": {...}}`."""

import json
from dataclasses import dataclass, field, fields, replace

DEFAULT_TOKENS = ["Hello", " from", " the", " scripted", " engine", "."]


class ScriptError(Exception):
    """The script of a request cannot be played: the test that wrote it is wrong."""


@dataclass(frozen=True)
class Cut:
    """Where and how the engine breaks its answer off."""

    how: str = "reset"  # reset: RST. close: FIN without the last HTTP chunk. end: a clean HTTP end.
    after_bytes: int | None = None  # counted in bytes of the body (SSE text or JSON text)
    after_chunks: int | None = None  # counted in SSE frames

    def __post_init__(self):
        if self.how not in ("reset", "close", "end"):
            raise ScriptError(f"cut.how {self.how!r} is none of reset, close, end")


@dataclass(frozen=True)
class Script:
    # What is said
    tokens: list | None = None
    text: str | None = None  # instead of tokens: split after each space
    repeat: int = 1  # the tokens are said this often
    echo: bool = False  # say the last user message
    reasoning: list = field(default_factory=list)
    tool_calls: list = field(default_factory=list)  # {"id", "name", "arguments", "pieces"}
    refusal: str | None = None
    choices: int | None = None  # default: the request's n
    finish_reason: str | None = "by what was said"  # null: never sent
    usage: dict | str | None = None  # null: counted; "none": never sent; an object: sent as it is
    cached_tokens: int = 0
    reasoning_tokens: int | None = None
    obey_max_tokens: bool = True
    model: str | None = None
    system_fingerprint: str | None = None
    members: dict = field(default_factory=dict)  # merged into every chunk or the body

    # How it is said
    first_delay_ms: float = 0
    delay_ms: float = 0
    quirk: str = "openai"  # openai, llama.cpp, vllm
    usage_in_finish: bool = False
    done: bool = True
    frame_split: int | None = None  # write the stream in pieces of so many bytes
    line_end: str = "\n"

    # How it fails
    status: int = 200
    body: str = "json"  # of a status: json, html, empty
    error: dict | None = None
    headers: dict = field(default_factory=dict)
    raw_body: str | None = None  # instead of the JSON body
    raw_chunks: dict = field(default_factory=dict)  # frame number -> text sent in its place (see bytes_of)
    cut: Cut | None = None
    stall_after_chunks: int | None = None
    never_answer: bool = False

    # Which of several scripts
    after_tools: dict | None = None  # instead of all this, where the request ends with the result of a tool
    by_attempt: list = field(default_factory=list)  # the n-th call with the same X-Request-ID; the last one stays
    by_port: dict = field(default_factory=dict)

    def pieces(self, last_user_text: str) -> list:
        if self.echo:
            return words(last_user_text)
        if self.tokens is not None:
            return list(self.tokens) * self.repeat
        if self.text is not None:
            return words(self.text) * self.repeat
        if self.tool_calls or self.refusal is not None:
            return []
        return DEFAULT_TOKENS * self.repeat


def words(text: str) -> list:
    found = text.split(" ")
    return [word + " " for word in found[:-1]] + ([found[-1]] if found[-1] else [])


def bytes_of(text: str) -> bytes:
    """Text of a script as bytes. `\\udcXX` stands for the raw byte XX, so that JSON can carry bad UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def last_user_text(body) -> str:
    """Of a text completion: its first prompt."""
    prompt = body.get("prompt") if isinstance(body, dict) else None
    if prompt:
        first = prompt[0] if isinstance(prompt, list) else prompt
        return first if isinstance(first, str) else ""
    messages = body.get("messages") if isinstance(body, dict) else None
    for message in reversed(messages if isinstance(messages, list) else []):
        if isinstance(message, dict) and message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, list):
                texts = [part.get("text") for part in content if isinstance(part, dict)]
                return "".join(text for text in texts if isinstance(text, str))
            return content if isinstance(content, str) else ""
    return ""


def script_of(values: dict) -> Script:
    known = {each.name for each in fields(Script)}
    unknown = set(values) - known
    if unknown:
        raise ScriptError(f"unknown members in the script: {', '.join(sorted(unknown))}")
    values = dict(values)
    if isinstance(values.get("cut"), dict):
        values["cut"] = Cut(**values["cut"])
    return Script(**values)


def find_script(body) -> Script | None:
    """The script that the last user message carries."""
    text = last_user_text(body)
    if text.startswith("{"):
        try:
            value = json.loads(text)
        except ValueError:
            return None
        if isinstance(value, dict) and isinstance(value.get("script"), dict):
            script = script_of(value["script"])
            if script.after_tools is not None and body["messages"][-1].get("role") == "tool":
                return script_of(script.after_tools)
            return script
    return None


def choose(script: Script, attempt: int, port: int) -> Script:
    """The script for this attempt (from 1) on this port."""
    chosen = script
    if str(port) in script.by_port:
        chosen = script_of(script.by_port[str(port)])
    if chosen.by_attempt:
        chosen = script_of(chosen.by_attempt[min(attempt, len(chosen.by_attempt)) - 1])
    return replace(chosen, by_attempt=[], by_port={})
