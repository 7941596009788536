"""The JSON access log of the gateways."""

import json
import os
from pathlib import Path

import pytest

from .stack import Stack


def access_log(stack: Stack) -> Path:
    named = os.environ.get("XEROTIER_GATEWAY_ACCESS_LOG")
    if named and named != "-":
        return Path(named)
    found = sorted(stack.folder.rglob("access*.log")) if stack.folder else []
    found = [path for path in found if "nginx" not in path.name] or found
    if not found:
        pytest.fail("no access log: set XEROTIER_GATEWAY_ACCESS_LOG or XEROTIER_STACK_DIR", pytrace=False)
    return found[0]


def access_log_lines(stack: Stack, request_id: str) -> list:
    lines = [line for line in access_log(stack).read_text().splitlines() if request_id in line]
    for line in lines:
        json.loads(line)
    return lines
