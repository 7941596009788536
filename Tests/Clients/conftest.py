import os
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))  # ScriptedEngine
sys.path.insert(0, str(TESTS / "EndToEnd"))  # harness

# The libraries tell nobody that they run.
os.environ["OPENAI_AGENTS_DISABLE_TRACING"] = "1"
os.environ["LANGCHAIN_TRACING_V2"] = "false"
os.environ["LANGSMITH_TRACING"] = "false"

import pytest  # noqa: E402
from harness.fixtures import *  # noqa: E402,F401,F403
from harness.fixtures import pytest_configure, pytest_runtest_call  # noqa: E402,F401


@pytest.fixture
def rows(tenant, usage):
    """The usage rows of this test, oldest first."""
    before = {row["id"] for row in of_project(usage, tenant)}
    return lambda: [row for row in of_project(usage, tenant) if row["id"] not in before]


def of_project(usage, tenant) -> list:
    return usage.query("SELECT * FROM usage_events WHERE project_id = %s ORDER BY created_at, id", tenant.project.id)
