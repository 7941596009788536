"""Clients that send or read slowly block nobody else (spec 04 §8)."""

import socket
import statistics
import time

import pytest

from harness.raw import RawCall

NORMAL = 40


def open_slow(address, count: int, first: bytes) -> list:
    found = []
    for _ in range(count):
        slow = socket.create_connection(address, timeout=10)
        slow.sendall(first)
        found.append(slow)
    return found


def latencies(victim) -> list:
    times = []
    for _ in range(NORMAL):
        started = time.monotonic()
        assert victim.chat("hi").status_code == 200
        times.append(time.monotonic() - started)
    return times


@pytest.mark.short
@pytest.mark.limit(180)
@pytest.mark.parametrize("kind", ["headers", "body"])
def test_500_slow_clients_do_not_block_a_normal_one(victim, stack, kind):
    alone = statistics.median(latencies(victim))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {victim.key.key}\r\nContent-Type: application/json\r\n"
    first = head if kind == "headers" else head + "Content-Length: 1000\r\n\r\n{"
    slow = open_slow(stack.http_address, 500, first.encode())
    try:
        for each in slow:
            each.sendall(b"X" if kind == "headers" else b" ")
        among = latencies(victim)
    finally:
        for each in slow:
            each.close()
    assert max(among) < 2, sorted(among)[-3:]
    assert statistics.median(among) < alone * 5 + 0.05


@pytest.mark.short
@pytest.mark.limit(180)
def test_connections_of_slow_bodies_are_freed(victim, stack):
    """nginx gives a body ten seconds to move, then closes without an answer."""
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {victim.key.key}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{"
    slow = open_slow(stack.http_address, 50, head.encode())
    deadline = time.monotonic() + 30
    for each in slow:
        each.settimeout(max(deadline - time.monotonic(), 0.1))
        try:
            received = each.recv(4096)
        except ConnectionResetError:
            received = b""
        assert received == b"" or b" 408 " in received[:20]
        each.close()


@pytest.mark.short
@pytest.mark.limit(180)
def test_readers_that_do_not_read_block_only_themselves(victim, stack, engine):
    calls = []
    for _ in range(50):
        call = RawCall(stack.http_address)
        call.post_json("/v1/chat/completions", victim.body(script={"tokens": ["x" * 1000], "repeat": 20_000, "obey_max_tokens": False}, stream=True), victim.key.key)
        calls.append(call)
    # Each of them alone may be late on a busy machine.
    assert statistics.median(latencies(victim)) < 2
    for call in calls:
        call.close()
