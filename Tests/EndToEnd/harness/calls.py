"""Raw HTTP calls. Every answer is checked as it comes in: headers, envelope, OpenAI's description."""

import json
import re
import ssl

import httpx

from . import openapi
from .codes import CODES, STATUS_OF_NGINX, type_of
from .sse import ChatStream, TextStream
from .stack import engine_ports

REQUEST_ID = re.compile(r"req_[0-9a-z]{24}")
SECRETS = re.compile(r"127\.0\.0\.1|localhost|10\.1\.2\.3|/home/|/tmp/|\.sock|SELECT |INSERT |curl|xero_[a-z]|:(" + "|".join(map(str, engine_ports())) + ")")
NEVER_RETRIED = {"quota_exceeded", "conflict", "slug_taken", "registration_name_taken", "idempotency_conflict"}


def script(**values) -> str:
    """The text of a user message that tells the scripted engine what to do."""
    return json.dumps({"script": values})


def messages(content) -> list:
    return [{"role": "user", "content": content}]


class Caller:
    """Calls one origin with one key. Safe for threads."""

    def __init__(self, origin: str, key: str | None = None, ca_file: str | None = None, timeout: float = 60):
        verify = ssl.create_default_context(cafile=ca_file) if ca_file else True
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
        self.client = httpx.Client(base_url=origin, verify=verify, timeout=timeout, limits=limits)
        self.key = key

    def headers(self, more: dict | None, key) -> dict:
        key = self.key if key == "own" else key
        headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
        return {**headers, **(more or {})}

    def call(self, method: str, path: str, *, key="own", headers: dict | None = None, schema: str | None = None, **values) -> httpx.Response:
        answer = self.client.request(method, path, headers=self.headers(headers, key), **values)
        check_answer(answer, schema)
        return answer

    def get(self, path: str, **values) -> httpx.Response:
        return self.call("GET", path, **values)

    def post(self, path: str, body=None, **values) -> httpx.Response:
        """A JSON body; lone surrogates and the like go as `content=` bytes instead."""
        if body is not None:
            values["content"] = json.dumps(body).encode()
            values["headers"] = {"Content-Type": "application/json", **(values.get("headers") or {})}
        return self.call("POST", path, **values)

    def send(self, method: str, path: str, body, **values) -> httpx.Response:
        """A JSON body by any method; None is the body `null`."""
        headers = {"Content-Type": "application/json", **values.pop("headers", {})}
        return self.call(method, path, content=json.dumps(body).encode(), headers=headers, **values)

    def stream(self, path: str, body, **values) -> ChatStream:
        """A stream, read to its end. The answer must be 200."""
        answer = self.try_stream(path, body, **values)
        assert isinstance(answer, ChatStream), f"no stream: {answer.status_code} {answer.text}"
        return answer

    def try_stream(self, path: str, body, *, key="own", headers: dict | None = None, **values) -> ChatStream | httpx.Response:
        """A stream, read to its end, or the answer of one that was refused before it began."""
        more = {"Content-Type": "application/json", **(headers or {})}
        with self.client.stream("POST", path, headers=self.headers(more, key), content=json.dumps(body).encode(), **values) as answer:
            if answer.status_code != 200:
                answer.read()
                check_answer(answer)
                return answer
            check_request_id(answer)
            check_stream_headers(answer)
            raw = b"".join(answer.iter_raw())
        kind = ChatStream if path.rstrip("/").endswith("/chat/completions") else TextStream
        return kind(raw, answer.headers, answer.headers["x-request-id"])


def check_request_id(answer: httpx.Response):
    assert REQUEST_ID.fullmatch(answer.headers.get("x-request-id", "")), f"{answer.status_code} has X-Request-ID {answer.headers.get('x-request-id')!r}"


def check_stream_headers(answer: httpx.Response):
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache, no-transform"
    assert answer.headers.get("x-accel-buffering") == "no"


def check_answer(answer: httpx.Response, schema: str | None = None):
    check_request_id(answer)
    if answer.status_code >= 400:
        check_error(answer)
    elif answer.content and answer.headers.get("content-type", "").startswith("application/json"):
        check_good(answer.json(), schema)


def check_good(value: dict, schema: str | None):
    assert "error" not in value, f"an error with a status of success: {value}"
    if value.get("object") == "list" and "first_id" in value:
        return check_list(value)
    known = {"chat.completion": "CreateChatCompletionResponse", "text_completion": "CreateCompletionResponse", "model": "Model", "list": "ListModelsResponse"}
    if value.get("object") == "file":
        schema = "DeleteFileResponse" if "deleted" in value else "OpenAIFile"
    schema = schema or known.get(value.get("object"))
    if value.get("object") == "list" and "usage" in value:
        if "created" in value:
            return  # Scores are not OpenAI's.
        # Vectors in base64, which the SDK asks for and never shows, are not in the description.
        schema = "CreateEmbeddingResponse" if isinstance(value["data"][0]["embedding"], list) else "none"
    if schema and schema != "none":
        openapi.check(schema, value)
    if value.get("object") == "chat.completion":
        check_completion(value)
    if value.get("object") == "text_completion":
        check_text_completion(value)


def check_list(value: dict):
    """A page of 01 §6."""
    assert set(value) == {"object", "data", "first_id", "last_id", "has_more"}, value.keys()
    ids = [each["id"] for each in value["data"]] or [None]
    assert (value["first_id"], value["last_id"]) == (ids[0], ids[-1])
    for file in value["data"]:
        if file.get("object") == "file":
            openapi.check("OpenAIFile", file)
    assert isinstance(value["has_more"], bool) and len(set(ids)) == len(ids)


def check_completion(value: dict):
    """What 02 §2 says beyond OpenAI's description."""
    assert re.fullmatch(r"chatcmpl-[0-9a-z]{24}", value["id"]), value["id"]
    assert isinstance(value["system_fingerprint"], str)
    assert "service_tier" in value
    check_usage(value["usage"])
    for choice in value["choices"]:
        message = choice["message"]
        assert message["role"] == "assistant" and "refusal" in message
        assert isinstance(message.get("annotations"), list)
        assert message.get("tool_calls") != [], "an empty list of tool calls"


def check_text_completion(value: dict):
    """What 02 §17 says beyond OpenAI's description."""
    assert re.fullmatch(r"cmpl-[0-9a-z]{24}", value["id"]), value["id"]
    assert isinstance(value["system_fingerprint"], str)
    check_usage(value["usage"])
    assert sorted(choice["index"] for choice in value["choices"]) == list(range(len(value["choices"])))


def check_usage(usage: dict):
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert isinstance(usage["prompt_tokens_details"]["cached_tokens"], int)
    assert usage["prompt_tokens_details"]["audio_tokens"] == 0
    for member in ("reasoning_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens"):
        assert isinstance(usage["completion_tokens_details"][member], int)


def check_error(answer: httpx.Response):
    assert answer.headers["content-type"].split(";")[0] == "application/json", f"{answer.status_code} as {answer.headers['content-type']}: {answer.text[:300]}"
    if answer.request.method == "HEAD":
        return
    body = answer.json()
    assert set(body) == {"error"}, body
    openapi.check("ErrorResponse", body)
    error = body["error"]
    assert error["message"] and isinstance(error["code"], str), error
    assert error["x_request_id"] == answer.headers["x-request-id"]
    assert not SECRETS.search(error["message"]), error["message"]
    check_code(answer.status_code, error)
    check_retry(answer, error)


def check_code(status: int, error: dict):
    code = error["code"]
    assert code in CODES, f"{code} is no documented code"
    expected_status, number = CODES[code]
    assert status == expected_status or STATUS_OF_NGINX.get(status) == code, f"{code} with status {status}"
    assert error["x_number"] == number, error
    assert error["type"] == type_of(code), error


def check_retry(answer: httpx.Response, error: dict):
    retry_after = answer.headers.get("retry-after")
    if answer.status_code == 429:
        assert retry_after is not None and int(retry_after) == error["retry_after"], (retry_after, error)
        assert 1 <= error["retry_after"] <= 3600
        check_strategy(error)
    else:
        assert "retry_strategy" not in error
    if answer.status_code == 503:
        assert retry_after is not None and 1 <= int(retry_after) <= 30, retry_after
    if answer.status_code in (409, 429) or answer.status_code >= 500:
        # 500 says so too, on writes without an Idempotency-Key; inference is no such write (04 §5).
        request = answer.request
        is_write = request.method not in ("GET", "HEAD") and not request.url.path.endswith("/completions")
        is_unsafe = answer.status_code == 500 and is_write and "idempotency-key" not in request.headers
        expected = "false" if error["code"] in NEVER_RETRIED or is_unsafe else None
        assert answer.headers.get("x-should-retry") == expected, error["code"]


def check_strategy(error: dict):
    strategy = error["retry_strategy"]
    expected = {
        "rate_limit_exceeded": ("fixed_delay", None, 60000),
        "concurrency_exceeded": ("exponential_backoff", 250, 10000),
        "capacity_exceeded": ("exponential_backoff", 1000, 60000),
        "quota_exceeded": ("none", 0, 0),
    }
    kind, initial, maximum = expected[error["code"]]
    assert strategy["type"] == kind, strategy
    assert strategy["max_delay_ms"] == maximum, strategy
    assert initial is None or strategy["initial_delay_ms"] == initial, strategy
    assert strategy["multiplier"] == 2.0 and strategy["jitter"] == 0.2, strategy


def expect_error(answer: httpx.Response, status: int, *codes: str, param=...) -> dict:
    """The error of this answer, which must have this status and one of these codes."""
    assert answer.status_code == status, f"{answer.status_code} instead of {status}: {answer.text[:500]}"
    error = answer.json()["error"]
    assert error["code"] in codes, error
    if param is not ...:
        given = error["param"]
        matches = given == param or (param is not None and str(given or "").startswith((f"{param}.", f"{param}[")))
        assert matches, f"param {given!r} instead of {param!r}"
    return error
