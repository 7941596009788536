"""Load that writes down what became of every request, and the set-checker that compares it with the usage rows."""

import json
import random
import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass

import httpx

from .calls import check_answer, script
from .ledger import DEMO_TOKEN
from .sse import ChatStream
from .usage import UsageRows

MAY_FAIL_WITH = {502, 503, 504}


@dataclass
class Outcome:
    kind: str  # answered, refused, cut, lost
    request_id: str | None
    status: int | None
    detail: str = ""
    reported: tuple | None = None  # tokens of the prompt and of the output, as the engine says


class Load:
    """Threads that call one tenant until they are told to stop; a context manager."""

    def __init__(self, tenant, threads: int = 12, tokens: int = 8, delay_ms: float = 15, only_streams: bool = False):
        self.tenant = tenant
        self.tokens = tokens  # at least; each request has a number of its own
        self.delay_ms = delay_ms
        self.only_streams = only_streams
        self.outcomes: list = []
        self.wrong: list = []
        self.running = 0
        self.in_flight_at_kills = 0
        self.lock = threading.Lock()
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self.work, args=(number,), daemon=True) for number in range(threads)]

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join(90)
        assert not any(thread.is_alive() for thread in self.threads), "a request of the load never ended"

    def note_kill(self):
        """To be called just before a kill."""
        with self.lock:
            self.in_flight_at_kills += self.running

    def work(self, number: int):
        client = httpx.Client(base_url=str(self.tenant.caller.client.base_url), timeout=60)
        while not self.stopped.is_set():
            with self.lock:
                self.running += 1
            try:
                outcome = self.one(client, streamed=self.only_streams or number % 2 == 0)
            except AssertionError as error:
                self.wrong.append(str(error))
                outcome = Outcome("wrong", None, None, str(error))
            with self.lock:
                self.running -= 1
                self.outcomes.append(outcome)
            if outcome.kind != "answered":
                time.sleep(0.1)

    def one(self, client: httpx.Client, streamed: bool) -> Outcome:
        marker = secrets.token_hex(6)
        prompt, tokens = random.randint(10, 99), self.tokens + random.randint(0, 4)
        said = [f"{marker} "] + [f"t{number} " for number in range(tokens - 1)]
        body = self.tenant.body(script(tokens=said, delay_ms=self.delay_ms, usage={"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens}), stream=streamed)
        headers = {**self.tenant.caller.headers(None, "own"), "Content-Type": "application/json"}
        request_id, status = None, None
        try:
            with client.stream("POST", "/v1/chat/completions", content=json.dumps(body).encode(), headers=headers) as answer:
                request_id, status = answer.headers.get("x-request-id"), answer.status_code
                raw = answer.read()
        except httpx.TransportError as error:
            return Outcome("lost", request_id, status, repr(error))
        if status != 200:
            assert status in MAY_FAIL_WITH, f"{status}: {raw[:300]!r}"
            check_answer(answer)
            return Outcome("refused", request_id, status, answer.json()["error"]["code"])
        outcome = self.judge(answer, raw, request_id, "".join(said), streamed)
        outcome.reported = (prompt, tokens)
        return outcome

    @staticmethod
    def judge(answer, raw: bytes, request_id: str, expected: str, streamed: bool) -> Outcome:
        if not streamed:
            check_answer(answer)
            assert answer.json()["choices"][0]["message"]["content"] == expected, f"a wrong answer for {request_id}"
            return Outcome("answered", request_id, 200)
        if b"data: [DONE]" not in raw:
            return Outcome("cut", request_id, 200, raw[-200:].decode("utf-8", "replace"))
        stream = ChatStream(raw, answer.headers, request_id)
        stream.check()
        assert stream.text() == expected, f"a wrong stream for {request_id}"
        return Outcome("answered", request_id, 200)

    def count(self, kind: str) -> int:
        return sum(outcome.kind == kind for outcome in self.outcomes)

    def check_tokens(self, usage: UsageRows):
        """Every answered request is charged what the engine reported for it."""
        rows = {row["request_id"]: row for row in usage.of_project(self.tenant.project.id)}
        for outcome in self.outcomes:
            if outcome.kind == "answered":
                row = rows[outcome.request_id]
                assert (row["input_tokens"], row["output_tokens"]) == outcome.reported, outcome
                assert row["cost_nano"] == sum(outcome.reported) * DEMO_TOKEN, outcome

    def check_rows(self, usage: UsageRows):
        """Every answered request has exactly one row; rows without an answer are at most those in flight at kills."""
        assert self.wrong == [], self.wrong[:3]
        rows = Counter(row["request_id"] for row in usage.of_project(self.tenant.project.id))
        assert {request_id: times for request_id, times in rows.items() if times > 1} == {}, "request ids with several rows"
        answered = [outcome.request_id for outcome in self.outcomes if outcome.kind == "answered"]
        assert len(answered) == len(set(answered)), "one request id for two answers"
        assert [request_id for request_id in answered if request_id not in rows] == [], "answered without a row"
        heard_of = {outcome.request_id for outcome in self.outcomes if outcome.kind in ("answered", "refused")}
        unheard = set(rows) - heard_of
        assert len(unheard) <= self.in_flight_at_kills, f"{len(unheard)} rows without an answer, {self.in_flight_at_kills} requests in flight at kills"
