"""Runs engines: `python Tests/ScriptedEngine --port 19180 --port 19181`, or `python -m ScriptedEngine` from Tests."""

import argparse
import asyncio
import resource
import signal
import sys
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ScriptedEngine.server import Engine


def raise_file_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def run(host: str, ports: list):
    engines = [Engine(port) for port in ports]
    for engine in engines:
        await engine.start(host)
    print(f"scripted engines on {', '.join(str(port) for port in ports)}", flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


def main():
    parser = argparse.ArgumentParser(description="An OpenAI-compatible server that plays scripts.")
    parser.add_argument("--port", type=int, action="append", required=True, help="may be repeated: an engine on each port")
    parser.add_argument("--host", default="127.0.0.1")
    arguments = parser.parse_args()
    raise_file_limit()
    asyncio.run(run(arguments.host, arguments.port))


if __name__ == "__main__":
    main()
