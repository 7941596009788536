"""The running stack that the tests call, as its stack.env describes it."""

import os
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[3]


def in_ci() -> bool:
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")


def shared_folder() -> Path:
    """Where OpenAI's description and the JSON corpora lie. Absent: skipped loudly, in CI a failure."""
    named = os.environ.get("XEROTIER_SHARED")
    folder = Path(named) if named else ROOT / ".." / "shared"
    if not folder.is_absolute():
        folder = ROOT / folder
    if not (folder / "data" / "openapi.yaml").is_file():
        reason = f"{folder}/data is absent: no answer is checked against OpenAI's description (set XEROTIER_SHARED)"
        if in_ci():
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return folder


@dataclass(frozen=True)
class Stack:
    http_url: str  # http://127.0.0.1:P/v1
    https_url: str  # https://localhost:P/v1
    ca_file: str
    database_url: str
    folder: Path | None
    time_scale: float

    @classmethod
    def of_environment(cls) -> "Stack":
        needed = ("XEROTIER_HTTP_URL", "XEROTIER_BASE_URL", "XEROTIER_CA_FILE", "XEROTIER_DATABASE_URL")
        missing = [name for name in needed if not os.environ.get(name)]
        if missing:
            pytest.fail(
                f"{', '.join(missing)} not set: start a stack (infra/stack up --dir D --port-base N "
                "--set egress.allow_hosts=127.0.0.1:19180,127.0.0.1:19181,127.0.0.1:19182,127.0.0.1:19183) "
                "and export its D/stack.env",
                pytrace=False,
            )
        folder = os.environ.get("XEROTIER_STACK_DIR")
        return cls(
            http_url=os.environ["XEROTIER_HTTP_URL"].rstrip("/"),
            https_url=os.environ["XEROTIER_BASE_URL"].rstrip("/"),
            ca_file=os.environ["XEROTIER_CA_FILE"],
            database_url=os.environ["XEROTIER_DATABASE_URL"],
            folder=Path(folder) if folder else None,
            time_scale=float(os.environ.get("XEROTIER_TIME_SCALE") or 1),
        )

    @property
    def origin(self) -> str:
        """The plain HTTP origin, without a path."""
        return self.http_url.removesuffix("/v1")

    @property
    def http_address(self) -> tuple:
        host, _, port = self.origin.removeprefix("http://").partition(":")
        return host, int(port or 80)


def default_engine(variable: str = "XEROTIER_ENGINE_URL") -> tuple:
    """The URL and the name of a model of the default engine. Without it: skipped loudly, in CI a failure."""
    url = os.environ.get(variable)
    if not url:
        reason = f"{variable} is not set: this stack runs without the real model"
        if in_ci():
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return url, httpx.get(f"{url}/models", timeout=30).json()["data"][0]["id"]


def engine_ports() -> list:
    """Four ports that the stack's egress.allow_hosts lists; the scripted engines listen there."""
    named = os.environ.get("XEROTIER_TEST_UPSTREAM_PORTS", "19180 19181 19182 19183")
    return [int(port) for port in named.split()][:4]
