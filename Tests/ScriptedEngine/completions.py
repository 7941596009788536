"""Text completions of the scripted engine: the scripts of chats, said to prompts. A prompt without a script of its own gets the first one's."""

import json
import math

from .answers import Answer, Frame, logprobs, timings
from .script import Script, find_script


def prompts_of(request: dict) -> list:
    """Each a text or token ids."""
    given = request.get("prompt", "")
    many = isinstance(given, list) and bool(given) and isinstance(given[0], (str, list))
    return given if many else [given]


def tokens_of(prompt) -> int:
    return len(prompt) if isinstance(prompt, list) else math.ceil(len(prompt.encode("utf-8", "replace")) / 4)


def text_of(prompt) -> str:
    return "".join(f"<{token}>" for token in prompt) if isinstance(prompt, list) else prompt


class TextAnswer(Answer):
    """All choices of a prompt, then those of the next; each says its pieces."""

    @classmethod
    def to(cls, request: dict, script: Script, id: str) -> "TextAnswer":
        answer = cls(script, request, id)
        first, *others = prompts_of(request)
        answer.said = [answer.said_to(first, script)]
        answer.said += [answer.said_to(each, isinstance(each, str) and find_script({"prompt": each}) or script) for each in others]
        answer.pieces = answer.said[0][0]
        answer.finish_reason = answer.said[0][1]
        return answer

    def said_to(self, prompt, own: Script) -> tuple:
        pieces, limit = own.pieces(text_of(prompt)), self.request.get("max_tokens", 16)
        if self.is_llama:
            limit = max(limit, 1)
        is_cut = own.obey_max_tokens and len(pieces) > limit
        reason = ("length" if is_cut else "stop") if own.finish_reason == "by what was said" else own.finish_reason
        return (pieces[:limit] if is_cut else pieces), reason

    @property
    def is_llama(self) -> bool:
        return self.script.quirk == "llama.cpp"

    @property
    def echoes(self) -> bool:
        return self.request.get("echo") is True and not self.is_llama

    @property
    def each(self) -> int:
        return self.request.get("n") or 1

    @property
    def choice_count(self) -> int:
        return self.script.choices or len(self.said) * self.each

    def prompt(self, index: int) -> int:
        return min(index // self.each, len(self.said) - 1)

    @property
    def output_tokens(self) -> int:
        return sum(len(self.said[self.prompt(index)][0]) for index in range(self.choice_count))

    @property
    def usage(self) -> dict | None:
        if self.script.usage == "none" or isinstance(self.script.usage, dict):
            return self.script.usage if isinstance(self.script.usage, dict) else None
        if self.is_llama:
            return self.usage_of(0)
        return self.counted(sum(map(tokens_of, prompts_of(self.request))), self.output_tokens)

    def usage_of(self, index: int) -> dict:
        prompt = self.prompt(index)
        return self.counted(tokens_of(prompts_of(self.request)[prompt]), len(self.said[prompt][0]))

    def counted(self, prompt: int, output: int) -> dict:
        details = {"prompt_tokens_details": {"cached_tokens": self.script.cached_tokens}}
        return {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output, **details}

    def logprobs_of(self, pieces: list, echo: str | None, offset: int = 0):
        top = self.request.get("logprobs")
        if not isinstance(top, int) or self.is_llama and top == 0:
            return None
        if self.is_llama:
            return logprobs(pieces, top)
        # The first token of a prompt follows from nothing.
        tokens = ([echo] if echo else []) + list(pieces)
        values = [None if echo and place == 0 else -0.25 for place in range(len(tokens))]
        likely = [None if value is None else {f"{token}{place or ''}": -0.25 for place in range(max(1, top))} for token, value in zip(tokens, values)]
        offsets = [offset + sum(map(len, tokens[:place])) for place in range(len(tokens))]
        return {"tokens": tokens, "token_logprobs": values, "top_logprobs": likely, "text_offset": offsets}

    def choice(self, index: int, pieces: list, reason, echo: str | None = None, offset: int = 0) -> dict:
        shown = self.logprobs_of(pieces, echo, offset) if pieces or echo else None
        return {"text": (echo or "") + "".join(pieces), "index": index, "logprobs": shown, "finish_reason": reason}

    def echo(self, index: int) -> str | None:
        return text_of(prompts_of(self.request)[self.prompt(index)]) if self.echoes else None

    def body(self) -> bytes:
        if self.script.raw_body is not None:
            return super().body()
        body = self.head("text_completion")
        body["choices"] = [self.choice(index, *self.said[self.prompt(index)], self.echo(index)) for index in range(self.choice_count)]
        if self.usage is not None:
            body["usage"] = self.usage
        if self.is_llama:
            body["timings"] = timings(self)
        return json.dumps(body, ensure_ascii=False).encode()

    def own_frames(self):
        if self.is_llama and self.choice_count > 1:
            yield Frame(b"data: null" + self.blank_line)
        indexes = range(self.choice_count)
        for place in range(max(len(pieces) for pieces, _ in self.said)):
            for index in indexes:
                pieces = self.said[self.prompt(index)][0]
                if place < len(pieces):
                    echo = self.echo(index) if place == 0 else None
                    offset = len((self.echo(index) or "") if place else "") + len("".join(pieces[:place]))
                    yield self.text_frame([self.choice(index, [pieces[place]], None, echo, offset)], tokens=1)
        for index in indexes:
            reason = self.said[self.prompt(index)][1]
            if reason is not None:
                more = {"usage": self.usage_of(index), "timings": timings(self)} if self.is_llama and self.sends_usage else {}
                yield self.text_frame([self.choice(index, [], reason)], **more)
        if self.sends_usage and not self.is_llama:
            yield self.text_frame([], usage=self.usage)
        if self.script.done:
            yield Frame(b"data: [DONE]" + self.blank_line)

    def text_frame(self, choices: list, tokens: int = 0, **more) -> Frame:
        chunk = {**self.head("text_completion"), "choices": choices, **more}
        return Frame(b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + self.blank_line, tokens)
