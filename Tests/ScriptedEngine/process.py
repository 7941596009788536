"""Engines in a process of their own, and the tests' hand on them."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

PROGRAM = Path(__file__).resolve().parent


class EngineHandle:
    """One engine, seen from a test."""

    def __init__(self, port: int):
        self.port = port
        self.address = f"127.0.0.1:{port}"
        self.url = f"http://{self.address}/v1"

    def control(self, method: str, path: str, value=None) -> dict:
        data = None if value is None else json.dumps(value).encode()
        request = urllib.request.Request(f"http://{self.address}{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def records(self, request_id: str | None = None, since: int = 0) -> list:
        query = f"?since={since}" + (f"&id={request_id}" if request_id else "")
        return self.control("GET", "/__records" + query)["records"]

    def record(self, request_id: str) -> dict:
        """The one record of this request: fails when there is none or more than one."""
        found = self.records(request_id)
        assert len(found) == 1, f"engine {self.port} saw {request_id} {len(found)} times"
        return found[0]

    def wait_for_end(self, request_id: str, seconds: float = 5) -> dict:
        """The record of this request once it is no longer running."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.records(request_id)
            if found and found[-1]["end"] != "running":
                return found[-1]
            if time.monotonic() > deadline:
                raise AssertionError(f"engine {self.port} still runs {request_id}: {found[-1:] or 'it never came'}")
            time.sleep(0.01)

    @property
    def sequence(self) -> int:
        return self.control("GET", "/__records?id=none")["sequence"]

    def behave(self, **values) -> dict:
        return self.control("POST", "/__behaviour", values)

    def behave_well(self):
        self.control("DELETE", "/__behaviour")

    @property
    def counts(self) -> dict:
        return self.control("GET", "/__behaviour")["counts"]


class EngineProcess:
    """A process that runs an engine on each of the ports; a context manager."""

    def __init__(self, ports: list):
        self.ports = ports
        self.engines = [EngineHandle(port) for port in ports]
        self.process = None

    def __enter__(self) -> "EngineProcess":
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        command = [sys.executable, str(PROGRAM)]
        for port in self.ports:
            command += ["--port", str(port)]
        self.process = subprocess.Popen(command)
        deadline = time.monotonic() + 10
        for engine in self.engines:
            while True:
                try:
                    engine.control("GET", "/__behaviour")
                    break
                except (urllib.error.URLError, OSError) as error:
                    if self.process.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError(f"the scripted engine does not start on {engine.port}: {error}") from error
                    time.sleep(0.05)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def kill(self):
        self.process.kill()
        self.process.wait()
