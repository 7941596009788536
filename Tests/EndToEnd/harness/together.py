"""Calls made at the same time."""

import time
from concurrent.futures import ThreadPoolExecutor

from harness.sse import ChatStream


def together(count: int, call, threads: int | None = None) -> list:
    """The results of call(0), … call(count - 1), run on so many threads; the first exception is raised."""
    with ThreadPoolExecutor(threads or count) as pool:
        return list(pool.map(call, range(count)))


def begun(answers: list, code: str) -> list[ChatStream]:
    """The streams among the answers of `try_stream`, two or more. The others came too late: a 402 with this code."""
    refused = [answer for answer in answers if not isinstance(answer, ChatStream)]
    assert {(answer.status_code, answer.json()["error"]["code"]) for answer in refused} <= {(402, code)}
    assert len(answers) - len(refused) >= 2
    return [answer for answer in answers if isinstance(answer, ChatStream)]


def eventually(check, seconds: float = 5, every: float = 0.05):
    """The first truthy result of check(); fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        if found := check():
            return found
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(every)
