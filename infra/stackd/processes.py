"""Who runs: a record of every process that we started, so that only those are ever ended.

A record is one JSON line in D/pids/NAME. A pid alone proves nothing, because the kernel gives it out again, so a record also holds the
start time, the session and the boot. A process belongs to a record when it is the recorded one (same pid, same start time), or when it
is in the process group and session that the recorded one led and is not older: that is how the workers of a killed nginx master are found.
Neither a group's nor a session's number is given out again while a member lives.
"""

import dataclasses
import json
import os
import pathlib
import signal
import time


@dataclasses.dataclass(frozen=True)
class Record:
    pid: int
    start: int
    session: int
    boot: str
    stop_signal: str
    # Of the description that it was started from: `up` restarts what runs from another one.
    description: str = ""


@dataclasses.dataclass(frozen=True)
class Process:
    pid: int
    state: str
    group: int
    session: int
    start: int


def boot() -> str:
    return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def look(pid: int) -> Process | None:
    """The living process with this pid; a zombie is not one."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name may hold spaces and parentheses: the fields begin after the last one.
    fields = text[text.rindex(")") + 2 :].split()
    process = Process(pid, fields[0], int(fields[2]), int(fields[3]), int(fields[19]))
    return None if process.state in "ZX" else process


def everyone() -> list[Process]:
    found = (look(int(entry)) for entry in os.listdir("/proc") if entry.isdigit())
    return [process for process in found if process is not None]


def read(path: pathlib.Path) -> list[Record]:
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return []
    return [Record(**json.loads(line)) for line in lines if line.strip()]


def write(path: pathlib.Path, records: list[Record]) -> None:
    new = path.with_name(f".{path.name}.new")
    new.write_text("".join(json.dumps(dataclasses.asdict(record)) + "\n" for record in records))
    new.replace(path)


def this_process(stop_signal: str, description: str) -> Record:
    """The caller's own record; it survives exec, which changes neither pid nor start time."""
    me = look(os.getpid())
    assert me is not None
    return Record(me.pid, me.start, me.session, boot(), stop_signal, description)


def members(record: Record, living: list[Process] | None = None) -> list[Process]:
    if record.boot != boot():
        return []
    living = everyone() if living is None else living
    return [
        process
        for process in living
        if (process.pid == record.pid and process.start == record.start)
        or (process.group == record.pid and process.session == record.session and process.start >= record.start)
    ]


def leader(record: Record) -> Process | None:
    process = look(record.pid)
    return process if process is not None and process.start == record.start and record.boot == boot() else None


def send(process: Process, number: signal.Signals) -> None:
    """The pidfd pins the process while its start time is compared, so no other can be hit in between."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        again = look(process.pid)
        if again is not None and again.start == process.start:
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)


def end(records: list[Record], patience: float) -> int:
    """Ask by each record's own signal, wait, then kill what is left. Answers how many processes there were."""
    seen: set[int] = set()
    for record in records:
        found = members(record)
        seen.update(process.pid for process in found)
        # A living leader stops its workers itself; without one every worker is asked.
        first = [process for process in found if process.pid == record.pid] or found
        for process in first:
            send(process, signal.Signals[f"SIG{record.stop_signal}"])
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and any(members(record) for record in records):
        time.sleep(0.05)
    while left := [process for record in records for process in members(record)]:
        for process in left:
            send(process, signal.SIGKILL)
        time.sleep(0.05)
    return len(seen)
