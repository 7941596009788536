"""Turns a script into the JSON that an OpenAI-compatible server would send, with the habits of some of them."""

import json
import math
import time
from dataclasses import dataclass, field

from .script import Script, bytes_of, last_user_text

COMMON_FINGERPRINT = "fp_scripted"


def prompt_tokens(request: dict) -> int:
    text = json.dumps(request.get("messages", request.get("prompt", [])), ensure_ascii=False)
    return math.ceil(len(text.encode("utf-8", "replace")) / 4)


@dataclass
class Frame:
    """One SSE frame and the output tokens that it carries."""

    data: bytes
    tokens: int = 0


@dataclass
class Answer:
    """What a script says to one request, before it is cut into chunks."""

    script: Script
    request: dict
    id: str
    pieces: list = field(default_factory=list)
    finish_reason: str | None = None
    created: int = field(default_factory=lambda: int(time.time()))

    @classmethod
    def to(cls, request: dict, script: Script, id: str) -> "Answer":
        answer = cls(script, request, id)
        said = script.pieces(last_user_text(request))
        limit = request.get("max_completion_tokens") or request.get("max_tokens")
        cut_short = script.obey_max_tokens and isinstance(limit, int) and len(said) > limit
        answer.pieces = said[:limit] if cut_short else said
        answer.finish_reason = script.finish_reason
        if script.finish_reason == "by what was said":
            answer.finish_reason = "length" if cut_short else "tool_calls" if script.tool_calls else "stop"
        return answer

    @property
    def choice_count(self) -> int:
        wanted = self.script.choices or self.request.get("n")
        return wanted if isinstance(wanted, int) and wanted > 0 else 1

    @property
    def output_tokens(self) -> int:
        return self.tokens_of_a_choice * self.choice_count

    @property
    def tokens_of_a_choice(self) -> int:
        calls = sum(len(call_pieces(call)) for call in self.script.tool_calls)
        return len(self.pieces) + len(self.script.reasoning) + calls

    @property
    def usage(self) -> dict | None:
        script = self.script
        if script.usage == "none":
            return None
        if isinstance(script.usage, dict):
            return script.usage
        prompt = prompt_tokens(self.request)
        counted = self.tokens_of_a_choice if script.quirk == "llama.cpp" else self.output_tokens
        usage = {"prompt_tokens": prompt, "completion_tokens": counted, "total_tokens": prompt + counted}
        if script.quirk != "vllm":
            usage["prompt_tokens_details"] = {"cached_tokens": script.cached_tokens}
        elif script.cached_tokens == 0:
            usage["prompt_tokens_details"] = None
        if script.reasoning_tokens is not None:
            usage["completion_tokens_details"] = {"reasoning_tokens": script.reasoning_tokens}
        return usage

    @property
    def wants_logprobs(self) -> bool:
        top = self.request.get("top_logprobs")
        # llama.cpp has none without alternatives.
        return self.request.get("logprobs") is True and not (self.script.quirk == "llama.cpp" and top == 0)

    def logprobs(self, pieces) -> dict:
        top = self.request.get("top_logprobs")
        if top is None:
            top = 20 if self.script.quirk == "llama.cpp" else 0
        return logprobs(pieces, top)

    def head(self, kind: str) -> dict:
        script = self.script
        head = {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": script.model or str(self.request.get("model")),
        }
        if script.quirk == "openai":
            head["system_fingerprint"] = script.system_fingerprint or COMMON_FINGERPRINT
        elif script.quirk == "llama.cpp":
            head["system_fingerprint"] = script.system_fingerprint or "b7777-scripted"
        elif script.system_fingerprint is not None:
            head["system_fingerprint"] = script.system_fingerprint
        head.update(script.members)
        return head

    # The whole body

    def body(self) -> bytes:
        if self.script.raw_body is not None:
            return bytes_of(self.script.raw_body)
        body = self.head("chat.completion")
        body["choices"] = [self.whole_choice(index) for index in range(self.choice_count)]
        if self.usage is not None:
            body["usage"] = self.usage
        if self.script.quirk == "llama.cpp":
            body["timings"] = timings(self)
        return json.dumps(body, ensure_ascii=False).encode()

    def whole_choice(self, index: int) -> dict:
        script = self.script
        text = "".join(self.pieces)
        message = {"role": "assistant", "content": text if text or not script.tool_calls else None}
        if script.reasoning:
            message["reasoning_content"] = "".join(script.reasoning)
        if script.refusal is not None:
            message["refusal"] = script.refusal
            message["content"] = None
        if script.tool_calls:
            message["tool_calls"] = [
                {
                    "id": call.get("id", f"call_{number}"),
                    "type": "function",
                    "function": {"name": call["name"], "arguments": call.get("arguments", "{}")},
                }
                for number, call in enumerate(script.tool_calls)
            ]
        if script.quirk == "vllm":
            message.setdefault("reasoning_content", None)
            message.setdefault("tool_calls", [])
        choice = {"index": index, "message": message}
        if self.finish_reason is not None:
            choice["finish_reason"] = self.finish_reason
        if self.wants_logprobs:
            choice["logprobs"] = self.logprobs(self.pieces)
        if script.quirk == "vllm":
            choice["stop_reason"] = None
        return choice

    # The stream

    def frames(self):
        """The frames of the stream, made one after the other, with those of the script's raw_chunks in their places."""
        replaced = {int(number): bytes_of(text) for number, text in self.script.raw_chunks.items()}
        for number, frame in enumerate(self.own_frames()):
            yield Frame(replaced.pop(number), frame.tokens) if number in replaced else frame
        for number in sorted(replaced):
            yield Frame(replaced[number])

    def own_frames(self):
        yield from self.role_frames()
        yield from self.delta_frames()
        yield from self.finish_frames()
        usage = self.usage_frame()
        if usage is not None:
            # llama.cpp counts each choice in a chunk of its own.
            yield from [usage] * (self.choice_count if self.script.quirk == "llama.cpp" else 1)
        if self.script.done:
            yield Frame(b"data: [DONE]" + self.blank_line)

    @property
    def blank_line(self) -> bytes:
        return (self.script.line_end * 2).encode()

    def frame(self, choices: list, tokens: int = 0, **more) -> Frame:
        chunk = self.head("chat.completion.chunk")
        chunk["choices"] = choices
        chunk.update(more)
        return Frame(b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + self.blank_line, tokens)

    def delta(self, index: int, delta: dict, finish_reason=None, pieces=()) -> dict:
        choice = {"index": index, "delta": delta, "finish_reason": finish_reason}
        if self.wants_logprobs and pieces:
            choice["logprobs"] = self.logprobs(pieces)
        elif self.script.quirk != "llama.cpp":
            choice["logprobs"] = None
        return choice

    def role_frames(self) -> list:
        content = None if self.script.quirk == "llama.cpp" else ""
        return [
            self.frame([self.delta(index, {"role": "assistant", "content": content})])
            for index in range(self.choice_count)
        ]

    def delta_frames(self):
        script = self.script
        rows = [{"reasoning_content": piece} for piece in script.reasoning]
        rows += [{"content": piece} for piece in self.pieces]
        if script.refusal is not None:
            rows.append({"refusal": script.refusal})
        for number, call in enumerate(script.tool_calls):
            rows += [{"tool_calls": [piece]} for piece in call_deltas(number, call)]
        if script.quirk == "vllm" and self.finish_reason is not None and self.pieces and not script.tool_calls and script.refusal is None:
            rows.pop()  # the last text goes beside finish_reason
        for delta in rows:
            pieces = [delta["content"]] if "content" in delta else []
            for index in range(self.choice_count):
                yield self.frame([self.delta(index, delta, pieces=pieces)], tokens=1)

    def finish_frames(self) -> list:
        if self.finish_reason is None:
            return []
        script = self.script
        beside = script.quirk == "vllm" and self.pieces and not script.tool_calls and script.refusal is None
        delta = {"content": self.pieces[-1]} if beside else {}
        frames = []
        for index in range(self.choice_count):
            last = index == self.choice_count - 1
            more = {"usage": self.usage} if script.usage_in_finish and last else {}
            if script.quirk == "llama.cpp" and last and not self.sends_usage:
                more["timings"] = timings(self)
            choice = self.delta(index, delta, self.finish_reason, self.pieces[-1:] if beside else ())
            if script.quirk == "vllm":
                choice["stop_reason"] = None
            frames.append(self.frame([choice], tokens=1 if beside else 0, **more))
        return frames

    @property
    def sends_usage(self) -> bool:
        options = self.request.get("stream_options")
        asked = isinstance(options, dict) and options.get("include_usage") is True
        return asked and self.usage is not None and not self.script.usage_in_finish

    def usage_frame(self) -> Frame | None:
        if not self.sends_usage:
            return None
        more = {"timings": timings(self)} if self.script.quirk == "llama.cpp" else {}
        return self.frame([], usage=self.usage, **more)


def call_pieces(call: dict) -> list:
    """The arguments of a tool call, cut into `pieces` pieces."""
    arguments = call.get("arguments", "{}")
    count = max(1, min(call.get("pieces", 3), len(arguments)))
    size = math.ceil(len(arguments) / count) or 1
    return [arguments[start : start + size] for start in range(0, len(arguments), size)] or [""]


def call_deltas(index: int, call: dict) -> list:
    first = {
        "index": index,
        "id": call.get("id", f"call_{index}"),
        "type": "function",
        "function": {"name": call["name"], "arguments": ""},
    }
    return [first] + [{"index": index, "function": {"arguments": piece}} for piece in call_pieces(call)]


def logprobs(pieces, top: int = 0) -> dict:
    def one(text: str) -> dict:
        return {"token": text, "logprob": -0.25, "bytes": list(text.encode())}

    return {
        "content": [{**one(piece), "top_logprobs": [one(f"{piece}{number or ''}") for number in range(top)]} for piece in pieces],
        "refusal": None,
    }


def timings(answer: Answer) -> dict:
    """The member that llama.cpp adds: it says how the time was spent."""
    usage = answer.usage or {}
    return {
        "cache_n": answer.script.cached_tokens,
        "prompt_n": usage.get("prompt_tokens", 0),
        "prompt_ms": 1.5,
        "prompt_per_token_ms": 0.1,
        "prompt_per_second": 10000.0,
        "predicted_n": answer.output_tokens,
        "predicted_ms": 2.5,
        "predicted_per_token_ms": 0.2,
        "predicted_per_second": 5000.0,
    }
