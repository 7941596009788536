"""Calls made at the same time."""

import time
from concurrent.futures import ThreadPoolExecutor


def together(count: int, call, threads: int | None = None) -> list:
    """The results of call(0), … call(count - 1), run on so many threads; the first exception is raised."""
    with ThreadPoolExecutor(threads or count) as pool:
        return list(pool.map(call, range(count)))


def eventually(check, seconds: float = 5, every: float = 0.05):
    """The first truthy result of check(); fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        if found := check():
            return found
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(every)
