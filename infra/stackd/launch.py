#!/usr/bin/env python3
"""Starts one program of a stack: `launch.py D NAME`. supervisord runs every program through this.

It reads D/programs/NAME.json, ends what an earlier life of the program left behind, records its own pid and start time in D/pids/NAME and
becomes the program by exec, so supervisord signals the program itself. The program gets only the environment of its file.
"""

import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from stackd import files, processes  # noqa: E402


def main() -> None:
    directory, name = pathlib.Path(sys.argv[1]), sys.argv[2]
    text = (directory / "programs" / f"{name}.json").read_text()
    program = json.loads(text)
    record = directory / "pids" / name
    earlier = [old for old in processes.read(record) if processes.members(old)]
    if program["leftovers"] == "finish":
        # Workers of a killed nginx master: on QUIT they close their listening sockets at once and finish the answers they are at.
        for old in earlier:
            for process in processes.members(old):
                processes.send(process, processes.signal.Signals[f"SIG{old.stop_signal}"])
    else:
        processes.end(earlier, patience=5)
        earlier = []
    for path in program["remove"]:
        pathlib.Path(path).unlink(missing_ok=True)
    processes.write(record, earlier + [processes.this_process(program["stop_signal"], files.digest(text))])
    os.chdir(directory)
    os.execve(program["command"][0], program["command"], program["environment"])


if __name__ == "__main__":
    main()
