import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # ScriptedEngine
sys.path.insert(0, str(Path(__file__).resolve().parent))  # harness

from harness.fixtures import *  # noqa: E402,F401,F403
from harness.fixtures import pytest_configure, pytest_runtest_call  # noqa: E402,F401
