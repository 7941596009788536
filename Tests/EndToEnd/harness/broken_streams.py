"""Streams over the mesh that a failure ends (spec 05 §6, §13): they say so, are billed for what was seen, and nothing stays held."""

import time

from .agents import Mesh, router_metric
from .together import eventually, together

# 2,000 tokens in 40 s: longer than any failure takes to be noticed.
LONG = {"tokens": ["a "], "repeat": 2_000, "delay_ms": 20, "obey_max_tokens": False}
# When streams of an agent have ended whose connection is lost, when a silent one gets nothing new, and when its streams have ended.
LOST_S, NO_DISPATCH_S, FROZEN_S = 6, 15, 36


def broken_streams(mesh: Mesh, count: int, fail, script: dict = LONG) -> list:
    """Streams that run while `fail` is called once, and how long the last one took to end after it."""
    failed, ended = [], []

    def one(place: int):
        if place < count:
            stream = mesh.tenant.stream(script=script)
            ended.append(time.monotonic())
            return stream
        eventually(lambda: router_metric("router_requests") >= count, 60)
        time.sleep(0.5)
        failed.append(time.monotonic())
        fail()

    *streams, _ = together(count + 1, one)
    return [streams, max(ended) - failed[0]]


def check_broken_and_billed_once(mesh: Mesh, usage, ledger, streams: list):
    for stream in streams:
        stream.check_broken(("stream_interrupted",))
    rows = usage.of_project(mesh.project.id)
    broken = {row["request_id"]: row for row in rows if row["error_code"] == "stream_interrupted"}
    assert sorted(broken) == sorted(stream.request_id for stream in streams)
    assert len({row["request_id"] for row in rows}) == len(rows)
    for stream in streams:
        row = broken[stream.request_id]
        # What was seen is billed; what the failure swallowed is not.
        assert row["fault"] == "agent" and row["output_tokens"] == stream.text().count("a ")
    assert eventually(lambda: router_metric("router_requests") == 0, 10)
    ledger.wait_until_nothing_is_held(mesh.project.id)
    ledger.check(mesh.project.id, rows)
