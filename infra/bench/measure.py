"""The runs and what is read before and after each: CPU, counts, memory."""

import dataclasses
import json
import os
import pathlib
import re
import resource
import subprocess
import time

from stackd.say import Problem, say

from .sides import BareNginx, Free, Stack

Side = BareNginx | Stack | Free

CONNECTIONS = [1, 16, 64, 256]
# With so many the cost of the ledger and of the quota is measured.
LEDGER_CONNECTIONS = 64
STREAMS, CHUNKS, INTERVAL_US = 100, 200, 10_000
# Time to first chunk: so many short streams, one after the other.
FIRSTS = 200
OPEN_CHUNKS, OPEN_INTERVAL_US = 10, 1_000_000
# A gateway reckons with eight descriptors for each of its streams, and 256 (Sources/gateway/OpenFiles.swift); some machines allow fewer than 2,000 take.
OPEN_STREAMS = min(2_000, (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 256) // 8)


@dataclasses.dataclass
class Results:
    before: tuple[float, float, float]
    # Of each side and kind of run, such as ("ours", "c=64"): what the load generator saw, with "cpu": seconds by group.
    runs: dict[tuple[str, str], list[dict]] = dataclasses.field(default_factory=dict)
    memory: dict[str, float] = dataclasses.field(default_factory=dict)
    # Ours, of everything: what the load generator says, Redis counted and Postgres holds.
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    ledger: dict[str, int] = dataclasses.field(default_factory=dict)
    loads: list[float] = dataclasses.field(default_factory=list)
    sent: int = 0
    faults: list[str] = dataclasses.field(default_factory=list)


class Load:
    def __init__(self, binary: pathlib.Path):
        self.binary = binary

    def start(self, kind: str, side: Side, *numbers: object) -> subprocess.Popen:
        return subprocess.Popen([self.binary, kind, str(side.port), side.key, *map(str, numbers)], stdout=subprocess.PIPE, text=True)

    def finish(self, process: subprocess.Popen) -> dict:
        try:
            output, _ = process.communicate(timeout=180)
        except BaseException:
            process.kill()
            process.wait()
            raise
        if process.returncode:
            raise Problem(f"the load generator ended with {process.returncode}")
        return json.loads(output)


def descendants(pid: int) -> list[int]:
    found, left = [], [pid]
    while left:
        pid = left.pop()
        found.append(pid)
        try:
            threads = os.listdir(f"/proc/{pid}/task")
            left += [int(child) for thread in threads for child in pathlib.Path(f"/proc/{pid}/task/{thread}/children").read_text().split()]
        except OSError:
            pass  # it ended meanwhile
    return found


def cpu_seconds(side: Side) -> dict[str, float]:
    """User and system time of each group; a process' own figure holds that of the children that it has waited for, such as an ended backend."""
    return {group: sum(map(_ticks, (pid for first in pids for pid in descendants(first)))) / os.sysconf("SC_CLK_TCK") for group, pids in side.groups().items()}


def _ticks(pid: int) -> int:
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return sum(map(int, text[text.rindex(")") + 2 :].split()[11:15]))


def run(results: Results, load: Load, side: Side, label: str, kind: str, *numbers: object) -> None:
    before = cpu_seconds(side)
    seen = load.finish(load.start(kind, side, *numbers))
    after = cpu_seconds(side)
    seen["cpu"] = {group: after[group] - before[group] for group in after}
    results.runs.setdefault((side.name, label), []).append(seen)
    note(results, side.name, label, seen)


def note(results: Results, name: str, label: str, seen: dict) -> None:
    if name != "bare":
        results.sent += seen["requests"]
    if seen["errors"] or not seen["requests"]:
        results.faults.append(f"{name} {label}: {seen['errors']} of {seen['requests']} requests failed")


def cpu(results: Results, load: Load, bare: BareNginx, stack: Stack, repetitions: int, seconds: float) -> None:
    warm = Results(before=results.before)
    free = Free(stack)
    for side in (bare, stack, free):
        run(warm, load, side, "warm-up", "requests", 64, 1)
        run(warm, load, side, "warm-up", "streams", 20, 20, 20, INTERVAL_US)
    results.sent, results.faults = warm.sent, warm.faults
    for number in range(1, repetitions + 1):
        say(f"repetition {number} of {repetitions}")
        for connections in CONNECTIONS:
            for side in (bare, free, stack) if connections == LEDGER_CONNECTIONS else (bare, stack):
                run(results, load, side, f"c={connections}", "requests", connections, seconds)
        for side in (bare, stack):
            run(results, load, side, "streams", "streams", STREAMS, STREAMS, CHUNKS, INTERVAL_US)
        for side in (bare, stack):
            run(results, load, side, "first", "streams", 1, FIRSTS, 2, INTERVAL_US)
        results.loads.append(os.getloadavg()[0])


def memory(results: Results, load: Load, stack: Stack) -> None:
    """All streams in one gateway process: the other is stopped."""
    say(f"{OPEN_STREAMS} open streams in one gateway process")
    stack.stop_gateway(1)
    pid = stack.gateway(0)
    results.memory = {f"{kind} idle": value for kind, value in _memory(pid).items()}
    process = load.start("streams", stack, OPEN_STREAMS, OPEN_STREAMS, OPEN_CHUNKS, OPEN_INTERVAL_US)
    most = {"Rss": 0.0, "Pss": 0.0}
    while process.poll() is None:
        most = {kind: max(value, most[kind]) for kind, value in _memory(pid).items()}
        results.memory["sockets"] = max(results.memory.get("sockets", 0), len(os.listdir(f"/proc/{pid}/fd")))
        time.sleep(0.25)
    seen = load.finish(process)
    results.memory |= {f"{kind} most": value for kind, value in most.items()}
    results.runs[("ours", "open")] = [seen]
    note(results, "ours", "open", seen)
    if seen["chunks"] != OPEN_STREAMS * OPEN_CHUNKS:
        results.faults.append(f"{OPEN_STREAMS * OPEN_CHUNKS - seen['chunks']} chunks were lost")


def _memory(pid: int) -> dict[str, float]:
    """In MiB."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return {kind: int(re.search(rf"^{kind}:\s+(\d+)", text, re.M)[1]) / 1024 for kind in ("Rss", "Pss")}


def check_counts(results: Results, stack: Stack) -> None:
    """The script adds each admission to the set of running requests, and takes each ending from it, by a command of its own; a run serves several."""
    calls = stack.redis_calls()
    results.counts = {"sent": results.sent, **stack.usage_rows(), "admissions": calls.get("zadd", 0), "endings": calls.get("zrem", 0)}
    for name, count in results.counts.items():
        if count != results.sent:
            results.faults.append(f"{name}: {count}, not {results.sent}")
    results.counts["scripts"] = calls.get("evalsha", 0) + calls.get("eval", 0)
    if not 0 < results.counts["scripts"] <= 2 * results.sent:
        results.faults.append(f"scripts: {results.counts['scripts']} for {results.sent} requests")
    results.ledger = stack.ledger_rows()
    if results.ledger["settlements"] != results.ledger["paid requests"]:
        results.faults.append(f"{results.ledger['settlements']} settlements of {results.ledger['paid requests']} paid requests")
