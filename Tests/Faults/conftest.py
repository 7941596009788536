import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))  # ScriptedEngine
sys.path.insert(0, str(TESTS / "EndToEnd"))  # harness

import pytest  # noqa: E402

from harness.fixtures import *  # noqa: E402,F401,F403
from harness.fixtures import pytest_configure, pytest_runtest_call  # noqa: E402,F401
from harness.ledger import LedgerRows  # noqa: E402
from harness.processes import Processes  # noqa: E402
from harness.usage import UsageRows  # noqa: E402


@pytest.fixture(scope="session")
def processes(stack, make_tenant) -> Processes:
    processes = Processes(stack)
    processes.prober = make_tenant()
    return processes


@pytest.fixture
def own_ledger(stack) -> LedgerRows:
    """Over a connection of its own, for a thread."""
    return LedgerRows(UsageRows(stack.database_url))


@pytest.fixture
def victim(make_tenant, engine, processes):
    """A project of its own for each test; the stack works before and after it."""
    processes.wait_until_back()
    yield make_tenant()
    processes.wait_until_back()
