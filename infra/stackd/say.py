"""How the stack speaks: progress on stdout, one line for what stands in the way."""

import sys


class Problem(Exception):
    """Something the person at the terminal can mend; its text is the one line that they see."""


def say(text: str) -> None:
    print(text, flush=True)


def fail(problem: object) -> int:
    print(f"stack: {problem}", file=sys.stderr, flush=True)
    return 1
