"""The grammar of a chat stream (spec 02 §3), to the byte, and the order of its frames."""

import json
import re
from dataclasses import dataclass, field

from . import openapi
from .codes import CODES
from .stack import engine_ports

VENDOR = re.compile(rb"event: (x_[a-z_.]+)\ndata: (\{[^\n\r]*\})")
DATA = re.compile(rb"data: (\{[^\n\r]*\})")
DONE = b"data: [DONE]"
COMMENT = b": keep-alive"


@dataclass
class Frame:
    kind: str  # chunk, vendor, error, comment, done
    value: dict | None = None
    name: str | None = None  # of a vendor event


def parse(raw: bytes) -> list:
    """Every frame of a whole stream; fails on any byte outside the grammar."""
    if raw == b"":
        return []
    assert b"\r" not in raw, "a stream has no CR"
    assert raw.endswith(b"\n\n"), f"the stream ends inside a frame: {raw[-80:]!r}"
    return [frame_of(part) for part in raw[:-2].split(b"\n\n")]


def frame_of(part: bytes) -> Frame:
    if part == DONE:
        return Frame("done")
    if part == COMMENT:
        return Frame("comment")
    if vendor := VENDOR.fullmatch(part):
        return Frame("vendor", json.loads(vendor[2]), vendor[1].decode())
    data = DATA.fullmatch(part)
    assert data, f"no frame of the grammar: {part[:300]!r}"
    value = json.loads(data[1].decode("utf-8", "strict"))
    return Frame("error" if "error" in value else "chunk", value)


@dataclass
class ChatStream:
    """A chat stream that was read to its end."""

    raw: bytes
    headers: dict
    request_id: str
    frames: list = field(init=False)

    def __post_init__(self):
        self.frames = parse(self.raw)

    @property
    def chunks(self) -> list:
        return [frame.value for frame in self.frames if frame.kind == "chunk"]

    @property
    def vendor_events(self) -> list:
        return [frame for frame in self.frames if frame.kind == "vendor"]

    @property
    def is_done(self) -> bool:
        return bool(self.frames) and self.frames[-1].kind == "done"

    @property
    def error(self) -> dict | None:
        found = [frame.value["error"] for frame in self.frames if frame.kind == "error"]
        return found[0] if found else None

    @property
    def usage(self) -> dict | None:
        found = [chunk["usage"] for chunk in self.chunks if chunk.get("usage")]
        return found[0] if found else None

    def deltas(self, index: int = 0) -> list:
        return [choice["delta"] for chunk in self.chunks for choice in chunk["choices"] if choice["index"] == index]

    def text(self, index: int = 0, member: str = "content") -> str:
        return "".join(delta[member] for delta in self.deltas(index) if isinstance(delta.get(member), str))

    def finish_reasons(self) -> dict:
        return {
            choice["index"]: choice["finish_reason"]
            for chunk in self.chunks
            for choice in chunk["choices"]
            if choice["finish_reason"] is not None
        }

    def arguments(self, call: int = 0, index: int = 0) -> str:
        pieces = [piece for delta in self.deltas(index) for piece in delta.get("tool_calls", []) if piece["index"] == call]
        return "".join(piece["function"].get("arguments", "") for piece in pieces)

    def check(self, choices: int = 1, include_usage: bool = False, opted_in: bool = False):
        """The rules of 02 §3 for a stream that ended well."""
        assert self.is_done, f"the stream has no [DONE]: {self.raw[-300:]!r}"
        assert [frame.kind for frame in self.frames].count("done") == 1
        assert self.error is None
        self.check_chunks(include_usage)
        for index in range(choices):
            self.check_choice(index)
        self.check_first_deltas(choices)
        assert set(self.finish_reasons()) == set(range(choices))
        self.check_usage(include_usage)
        if not opted_in:
            assert not self.vendor_events, "vendor events without opt-in"

    def check_broken(self, codes: tuple):
        """The rules of 04 §4 for a stream that an error frame ended."""
        assert not any(frame.kind == "done" for frame in self.frames), "[DONE] after an error"
        assert self.frames and self.frames[-1].kind == "error", f"the last frame is no error: {self.raw[-300:]!r}"
        error = self.error
        openapi.check("ErrorResponse", {"error": error})
        assert error["code"] in codes, error
        assert error["x_number"] == CODES[error["code"]][1]
        assert error["type"] == "stream_error"
        assert error["x_request_id"] == self.request_id
        for secret in ("127.0.0.1", "localhost", "10.1.2.3", *(f":{port}" for port in engine_ports())):
            assert secret not in json.dumps(error), "an upstream's address in the stream"
        self.check_chunks(None)

    def check_chunks(self, include_usage: bool | None):
        assert self.chunks or self.error
        for chunk in self.chunks:
            openapi.check("CreateChatCompletionStreamResponse", chunk)
            assert not [name for name in chunk if name.startswith("x_")]
            assert "service_tier" in chunk
            assert isinstance(chunk.get("system_fingerprint"), str)
            for choice in chunk["choices"]:
                assert "logprobs" in choice
            if include_usage is not None:
                assert ("usage" in chunk) == include_usage
        self.check_identity("chatcmpl-")

    def check_identity(self, prefix: str):
        for member in ("id", "created", "model", "object"):
            assert len({chunk[member] for chunk in self.chunks}) <= 1, f"{member} changes within the stream"
        for chunk in self.chunks[:1]:
            assert re.fullmatch(prefix + "[0-9a-z]{24}", chunk["id"]), chunk["id"]

    def check_choice(self, index: int):
        deltas = self.deltas(index)
        assert deltas[0] == {"role": "assistant", "content": ""}, deltas[:1]
        assert deltas[-1] == {}, f"the last delta carries something: {deltas[-1]}"
        assert all("role" not in delta for delta in deltas[1:])
        assert all(delta for delta in deltas[1:-1]), "an empty delta in the middle"
        for delta in deltas:
            for member in ("content", "reasoning_content", "refusal"):
                assert member not in delta or isinstance(delta[member], str), delta
        self.check_tool_pieces(deltas)
        finished = [choice for chunk in self.chunks for choice in chunk["choices"] if choice["index"] == index]
        assert [choice["finish_reason"] for choice in finished[:-1]] == [None] * (len(finished) - 1)
        assert finished[-1]["finish_reason"] is not None

    @staticmethod
    def check_tool_pieces(deltas: list):
        seen = set()
        for delta in deltas:
            for piece in delta.get("tool_calls", []):
                first = piece["index"] not in seen
                seen.add(piece["index"])
                assert ("id" in piece) == first and ("type" in piece) == first, piece
                assert ("name" in piece["function"]) == first, piece
                assert isinstance(piece["function"].get("arguments", ""), str)

    def check_first_deltas(self, choices: int):
        order = [choice["index"] for chunk in self.chunks for choice in chunk["choices"]][:choices]
        assert order == list(range(choices)), f"the first deltas come in the order {order}"

    def check_usage(self, include_usage: bool):
        if not include_usage:
            return
        chunks = self.chunks
        assert chunks[-1]["choices"] == [] and chunks[-1]["usage"], "the last chunk carries the usage"
        assert all(chunk["usage"] is None for chunk in chunks[:-1])
        assert all(chunk["choices"] for chunk in chunks[:-1])


class TextStream(ChatStream):
    """A stream of text completions (02 §17) that was read to its end."""

    def choices(self, index: int = 0) -> list:
        return [choice for chunk in self.chunks for choice in chunk["choices"] if choice["index"] == index]

    def text(self, index: int = 0) -> str:
        return "".join(choice["text"] for choice in self.choices(index))

    def check_chunks(self, include_usage: bool | None):
        assert self.chunks or self.error
        for chunk in self.chunks:
            openapi.check("CreateCompletionResponse, as a chunk", chunk)
            assert not [name for name in chunk if name.startswith("x_")]
            assert isinstance(chunk.get("system_fingerprint"), str)
            if include_usage is not None:
                assert ("usage" in chunk) == include_usage
        self.check_identity("cmpl-")

    def check_choice(self, index: int):
        choices = self.choices(index)
        assert [choice["finish_reason"] for choice in choices[:-1]] == [None] * (len(choices) - 1)
        assert choices[-1]["finish_reason"] is not None
        assert all(choice["text"] for choice in choices[:-1]), "an empty chunk in the middle"

    def check_first_deltas(self, choices: int):
        """There are no roles to be told first."""
