"""Measures uploads and downloads of the running stack; see infra/bench/files. Both sides take turns; the figures to trust are the multiples."""

import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time
import urllib.parse

from harness.tenants import Project

SIZE = 256 << 20
REPETITIONS = 5
# After so many seconds no round is begun: a slow machine does fewer.
LIMIT_S = 180
STORE = {
    "S3_HOSTNAME": urllib.parse.urlsplit(os.environ["XEROTIER_STORE_URL"]).netloc,
    "S3_ACCESS_KEY_ID": os.environ["XEROTIER_STORE_ACCESS_KEY"],
    "S3_SECRET_ACCESS_KEY": os.environ["XEROTIER_STORE_SECRET_KEY"],
}
STRAIGHT = f"{os.environ['XEROTIER_STORE_BUCKET']}/straight"
FILES = os.environ["XEROTIER_HTTP_URL"] + "/files"


def libs3(*arguments: str) -> None:
    subprocess.run(["/usr/bin/s3", "-u", *arguments], env=os.environ | STORE, check=True, stdout=subprocess.DEVNULL)


def curl(key: str, *arguments: str) -> bytes:
    return subprocess.run(["curl", "-sS", "--fail", "-H", f"Authorization: Bearer {key}", *arguments], check=True, stdout=subprocess.PIPE).stdout


def timed(body) -> tuple:
    start = time.monotonic()
    value = body()
    return SIZE / (1 << 20) / (time.monotonic() - start), value


def memory(field: str, reset: bool = False) -> dict:
    """What each gateway for uploads holds (VmRSS) or has held at most since the last reset (VmHWM), in KiB."""
    found = {}
    for status in pathlib.Path("/proc").glob("[0-9]*/status"):
        try:
            lines = status.read_text().splitlines()
            environment = (status.parent / "environ").read_bytes()
        except OSError:
            continue
        if f"XEROTIER_STATE_DIR={os.environ['XEROTIER_STATE_DIR']}".encode() in environment and b"XEROTIER_GATEWAY_ROLE=uploads" in environment:
            found[status.parent.name] = next(int(line.split()[1]) for line in lines if line.startswith(field))
            if reset:
                (status.parent / "clear_refs").write_text("5")  # see proc_pid_clear_refs(5)
    return found


def main():
    key = Project.create("bench", credit=None).key().key
    rates = {name: [] for name in ("put with libs3", "upload", "get with libs3", "download")}
    with tempfile.TemporaryDirectory(dir=os.environ["XEROTIER_STACK_DIR"]) as folder:
        path = pathlib.Path(folder) / "bytes"
        with path.open("wb") as file:
            for _ in range(SIZE >> 20):
                file.write(os.urandom(1 << 20))
        for _ in range(20):  # each has its code in memory, and its connections
            small = json.loads(curl(key, "-F", "purpose=user_data", "-F", "file=hello;filename=a", FILES))
            curl(key, f"{FILES}/{small['id']}/content")
        before = memory("VmRSS", reset=True)
        begun = time.monotonic()
        while len(rates["download"]) < REPETITIONS and time.monotonic() - begun < LIMIT_S:
            rate, _ = timed(lambda: libs3("put", STRAIGHT, f"filename={path}"))
            rates["put with libs3"].append(rate)
            rate, answer = timed(lambda: curl(key, "-H", "Expect:", "-F", "purpose=user_data", "-F", f"file=@{path}", FILES))
            rates["upload"].append(rate)
            file = json.loads(answer)
            assert file["bytes"] == SIZE, file
            rate, _ = timed(lambda: libs3("get", STRAIGHT, "filename=/dev/null"))
            rates["get with libs3"].append(rate)
            back = path.with_name("back")
            content = f"{FILES}/{file['id']}/content"
            rate, _ = timed(lambda: curl(key, "-o", "/dev/null", content))
            rates["download"].append(rate)
            time.sleep(0.5)  # the memory of a request goes back just after its answer; each request is judged alone
            curl(key, "-o", str(back), content)
            assert subprocess.run(["cmp", path, back]).returncode == 0
            curl(key, "-X", "DELETE", f"{FILES}/{file['id']}")
        after = memory("VmHWM")
    print(f"{SIZE >> 20} MiB, MiB/s of each of {len(rates['download'])} rounds, and their median")
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, values in rates.items():
        print(f"  {name:<15} {' '.join(f'{value:6.0f}' for value in values)}   {medians[name]:6.0f}")
    print(f"upload   {medians['upload'] / medians['put with libs3']:.2f} of libs3's put; wanted: 0.6")
    print(f"download {medians['download'] / medians['get with libs3']:.2f} of libs3's get; wanted: 0.6")
    grown = max((after[process] - before.get(process, 0)) / 1024 for process in after)
    print(f"the most that a gateway grew by: {grown:.1f} MiB; wanted: below 12 MiB for each upload or download")


if __name__ == "__main__":
    main()
