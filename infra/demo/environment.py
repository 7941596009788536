"""The shell lines of .run/stack.env and .run/demo.env, read and written without a shell."""

import pathlib
import shlex

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
STACK = ROOT / ".run" / "stack.env"
DEMO = ROOT / ".run" / "demo.env"


def read(path: pathlib.Path) -> dict[str, str]:
    if not path.exists():
        return {}
    pairs = (line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)
    return {name: shlex.split(value)[0] if value else "" for name, value in pairs}


def write(path: pathlib.Path, values: dict[str, str]) -> None:
    """Whole or not at all; it holds a key, so nobody else may read it."""
    new = path.with_name(f".{path.name}.new")
    new.touch(mode=0o600)
    new.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()))
    new.replace(path)
