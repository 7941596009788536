"""What the programs of the bench do alike: they end in time, on a signal too, and keep what they found."""

import signal
import sys
import time
from typing import Callable

from stackd.say import Problem, fail, say
from stackd.settings import ROOT

LONGEST_RUN = 900


def run(bench: Callable[[], int]) -> None:
    """Exits with what `bench` answers. What ends it early still leaves its `with` blocks, which end its processes."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, stop)
    signal.alarm(LONGEST_RUN)
    try:
        sys.exit(bench())
    except Problem as problem:
        sys.exit(fail(problem))


def stop(number: int, _: object) -> None:
    raise Problem(f"stopped by {signal.Signals(number).name}" if number != signal.SIGALRM else f"not done after {LONGEST_RUN} s")


def keep(text: str, name: str) -> None:
    """As infra/measurements/<date>-<name>.txt; nowhere where the name is empty."""
    if name:
        path = ROOT / "infra" / "measurements" / f"{time.strftime('%Y-%m-%d')}-{name}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        say(f"written to {path.relative_to(ROOT)}")
