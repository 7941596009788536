"""Random requests get documented answers only (spec 04 §5)."""

import json
import os
import random

import httpx

from harness.calls import SECRETS, check_answer
from harness.codes import CODES
from harness.together import together

COUNT = int(os.environ.get("XEROTIER_FUZZ_REQUESTS", 10_000))
SEED = int(os.environ.get("XEROTIER_FUZZ_SEED", 20_260_701))
METHODS = ["POST"] * 12 + ["GET", "PUT", "DELETE", "PATCH"]
FIELDS = """temperature top_p n max_tokens max_completion_tokens stop stream stream_options tools tool_choice parallel_tool_calls response_format
logprobs top_logprobs reasoning_effort prediction frequency_penalty presence_penalty logit_bias seed user metadata store service_tier modalities audio
x_tools x_memory x_something functions cache_salt priority unknown messages model""".split()
VALUES = [None, True, False, 0, 1, -1, 2, 0.5, 1e308, -1e308, 2**63 - 1, "", "x", "auto", "none", "ü" * 300, "text", [], [1], ["x"], {}, {"type": "text"},
          {"type": "function", "function": {"name": "f"}}, {"a": {"b": []}}, [{"type": "function", "function": {"name": "f"}}], [{"role": "user", "content": "hi"}]]


class Fuzz:
    """One random request, decided wholly by its number."""

    def __init__(self, tenant, number: int):
        self.random = random.Random(SEED + number)
        self.tenant = tenant

    def path(self) -> str:
        slug, endpoint = self.tenant.project.slug, self.tenant.endpoint.slug
        good = ["/v1/chat/completions", f"/{slug}/v1/chat/completions", f"/{slug}/{endpoint}/v1/chat/completions", "/v1/models", f"/v1/models/{endpoint}"]
        path = self.random.choice(good * 3 + ["/v1/nothing", "/x/v1/models", "/v1/chat", f"/{slug}/no/v1/models"])
        return path + self.random.choice([""] * 8 + ["/", "?a=b", "?limit=-1", "/%20", "%00"])

    def body(self) -> bytes:
        body = {"model": self.tenant.endpoint.slug, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
        for _ in range(self.random.choice([0, 1, 1, 2, 3])):
            body[self.random.choice(FIELDS)] = self.random.choice(VALUES)
        raw = bytearray(json.dumps(body).encode())
        if self.random.random() < 0.3:
            for _ in range(self.random.randint(1, 5)):
                raw[self.random.randrange(len(raw))] = self.random.randrange(256)
        return bytes(raw[: self.random.randrange(len(raw))]) if self.random.random() < 0.1 else bytes(raw)

    def headers(self) -> dict:
        headers = {"Content-Type": self.random.choice(["application/json"] * 15 + ["text/plain", "application/json; x"])}
        key = self.random.choice([self.tenant.key.key] * 15 + [None, "", "xero_a_b", self.tenant.key.key + "x"])
        if key is not None:
            headers["Authorization"] = f"Bearer {key}".strip()
        if self.random.random() < 0.1:
            headers["X-Xerotier-Events"] = "on"
        return headers

    def send(self) -> httpx.Response:
        method = self.random.choice(METHODS)
        return self.tenant.caller.client.request(method, self.path(), headers=self.headers(), content=self.body())


def test_random_requests_get_documented_codes_only(tenant, engine):
    def run(number):
        answer = Fuzz(tenant, number).send()
        try:
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                assert answer.text.endswith("\n\n")
                return 200
            check_answer(answer, "none")
            assert answer.content, "an empty body"
            assert answer.status_code < 500, answer.text
            if answer.status_code >= 400:
                assert answer.json()["error"]["code"] in CODES
                assert not SECRETS.search(answer.json()["error"]["message"])
        except AssertionError as error:
            raise AssertionError(f"request {number} of seed {SEED}: {error}") from error
        return answer.status_code

    statuses = together(COUNT, run, threads=4)
    assert {200, 400, 401, 404, 405} <= set(statuses)
