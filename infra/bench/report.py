"""The table of a bench and its raw figures, as text."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import time

from stackd.settings import ROOT

from .measure import CHUNKS, CONNECTIONS, FIRSTS, INTERVAL_US, LEDGER_CONNECTIONS, OPEN_CHUNKS, OPEN_STREAMS, STREAMS, Results

GROUPS = ["nginx", "gateway", "redis", "postgres"]


def render(results: Results, options: argparse.Namespace, command: list[str]) -> str:
    lines = head("infra/bench/run", command, results) + [
        f"{options.repetitions} repetitions of {options.seconds:g} s, both sides in turn; medians. No randomness: no seed.",
        "",
    ]
    if ("ours", "c=64") in results.runs:
        lines += cpu_table(results) + [""] + ledger_table(results) + [""] + speed_table(results) + [""]
    lines += goals(results) + ["", "counts  " + "  ".join(f"{name} {count}" for name, count in results.counts.items())]
    lines += ["ledger  " + "  ".join(f"{name} {count}" for name, count in results.ledger.items())]
    lines += ["valid: every request took its limits once, gave them back once, left one usage row, and none failed"] if not results.faults else []
    lines += [f"invalid: {fault}" for fault in results.faults]
    lines += ["", "raw, one line a run"] + [f"{side} {label} {json.dumps(seen)}" for (side, label), seen in ordered(results)]
    return "\n".join(lines) + "\n"


def head(program: str, command: list[str], results: Results) -> list[str]:
    return [
        f"{program} {' '.join(command)}".rstrip(),
        f"{time.strftime('%Y-%m-%d %H:%M:%S %Z')}, commit {commit()}",
        f"{os.cpu_count()} cores of {processor()}, Linux {platform.release()}; load average before {results.before[0]:.2f}, after each repetition "
        + " ".join(f"{load:.2f}" for load in results.loads),
    ]


def ordered(results: Results) -> list:
    return [(name, seen) for name, runs in results.runs.items() for seen in runs]


def commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True).stdout.strip()

    return git("rev-parse", "--short=12", "HEAD") + (" with changes" if git("status", "--porcelain", "--untracked-files=no") else "")


def processor() -> str:
    with open("/proc/cpuinfo") as file:
        return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), platform.machine())


def median(results: Results, side: str, label: str, value) -> float:
    return statistics.median(value(seen) for seen in results.runs[(side, label)])


def cpu(results: Results, side: str, label: str, group: str | None = None) -> float:
    """Microseconds a request, or a chunk."""
    unit = "chunks" if label == "streams" else "requests"
    return median(results, side, label, lambda seen: 1e6 * (seen["cpu"].get(group, 0) if group else sum(seen["cpu"].values())) / seen[unit])


def multiple(results: Results, label: str) -> float:
    return cpu(results, "ours", label) / cpu(results, "bare", label)


def cpu_table(results: Results) -> list[str]:
    labels = [f"c={connections}" for connections in CONNECTIONS] + ["streams"]
    lines = ["CPU microseconds     " + "".join(f"{f'a request, {label}':>18}" for label in labels[:-1]) + f"{'a chunk':>10}"]
    for group in GROUPS:
        lines.append(f"ours: {group:<15}" + "".join(f"{cpu(results, 'ours', label, group):>{10 if label == 'streams' else 18}.1f}" for label in labels))
    for name, side in [("ours: all", "ours"), ("bare nginx", "bare")]:
        lines.append(f"{name:<21}" + "".join(f"{cpu(results, side, label):>{10 if label == 'streams' else 18}.1f}" for label in labels))
    lines.append(f"{'multiple':<21}" + "".join(f"{f'{multiple(results, label):.2f}x':>{10 if label == 'streams' else 18}}" for label in labels))
    return lines


def ledger_table(results: Results) -> list[str]:
    """What ledger and quota cost: our requests, those of a project that pays nothing by a key without a quota, and what lies between."""
    label = f"c={LEDGER_CONNECTIONS}"
    lines = [f"{f'ledger and quota, {label}':<27}" + "".join(f"{group:>10}" for group in [*GROUPS, "all"])]
    for name, side in [("on", "ours"), ("off", "free")]:
        lines.append(f"  {name:<25}" + "".join(f"{cpu(results, side, label, group):>10.1f}" for group in [*GROUPS, None]))
    lines.append(f"  {'more':<25}" + "".join(f"{cpu(results, 'ours', label, group) - cpu(results, 'free', label, group):>10.1f}" for group in [*GROUPS, None]))
    return lines


def speed_table(results: Results) -> list[str]:
    lines = [f"{'':<14}{'requests/s ours':>16}{'bare':>9}{'ratio':>7}{'p50 ms ours':>13}{'bare':>8}{'ratio':>7}{'p99 ms ours':>13}{'bare':>8}{'ratio':>7}"]
    for label in [f"c={connections}" for connections in CONNECTIONS]:
        line = f"{label:<14}"
        for width, digits, value in [
            (16, 0, lambda seen: seen["requests"] / seen["seconds"]),
            (13, 3, lambda seen: seen["time_p50_ms"]),
            (13, 3, lambda seen: seen["time_p99_ms"]),
        ]:
            ours, bare = median(results, "ours", label, value), median(results, "bare", label, value)
            line += f"{ours:>{width}.{digits}f}{bare:>{9 if digits == 0 else 8}.{digits}f}{ours / bare:>7.2f}"
        lines.append(line)
    for name, label, key in [("first chunk", "first", "first"), ("chunk's way", "streams", "delay")]:
        line = f"{name:<14}{'':>32}"
        for part in ["p50", "p99"]:
            ours, bare = (median(results, side, label, lambda seen: seen[f"{key}_{part}_ms"]) for side in ["ours", "bare"])
            line += f"{ours:>13.3f}{bare:>8.3f}{ours / bare:>7.2f}"
        lines.append(line)
    lines.append(f"first chunk: {FIRSTS} streams one after the other; chunk's way: {STREAMS} streams x {CHUNKS} chunks, {INTERVAL_US // 1000} ms apart")
    return lines


def goals(results: Results) -> list[str]:
    lines = ["goals"]

    def goal(text: str, value: float, most: float, unit: str) -> None:
        lines.append(f"  {'reached' if value <= most else 'MISSED '}  {text}: {value:.2f}{unit}, at most {most:g}{unit}")

    if ("ours", "c=64") in results.runs:
        goal("CPU per request at c = 64", multiple(results, "c=64"), 7, "x")
        goal("CPU per streamed chunk", multiple(results, "streams"), 3, "x")
        label = f"c={LEDGER_CONNECTIONS}"
        more = (cpu(results, "ours", label) - cpu(results, "free", label)) / cpu(results, "bare", label)
        goal(f"CPU that ledger and quota add to a request at {label}", more, 2, "x")
        first = median(results, "ours", "first", lambda seen: seen["first_p50_ms"]) - median(results, "bare", "first", lambda seen: seen["first_p50_ms"])
        goal("time to first chunk at c = 1, above bare nginx", first, 1, " ms")
    if results.memory:
        (open_run,) = results.runs[("ours", "open")]
        goal(f"resident memory of one gateway process with {OPEN_STREAMS} open streams", results.memory["Rss most"], 250, " MiB")
        found = "  ".join(f"{name} {value:.0f}" for name, value in results.memory.items())
        lines.append(f"  its memory in MiB, and descriptors: {found}; {open_run['chunks']} of {OPEN_STREAMS * OPEN_CHUNKS} chunks came")
    return lines
