"""Projects, their credit, keys, endpoints and tiers, made with the operator's tools `migrate` and `billing`."""

import json
import os
import pathlib
import secrets
import subprocess
import time
from dataclasses import dataclass

from .stack import ROOT


class MigrateFailed(Exception):
    """An operator's tool refused; the text is what it said on stderr."""


def run(program: pathlib.Path | str, *arguments) -> str:
    done = subprocess.run(
        [program, *(str(each) for each in arguments)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    if done.returncode != 0:
        raise MigrateFailed(f"{pathlib.Path(program).name} {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return done.stdout


def migrate(*arguments) -> dict:
    output = run(os.environ.get("XEROTIER_MIGRATE") or ROOT / ".build" / "release" / "migrate", *arguments)
    return json.loads(output) if output.strip() else {}


def billing(*arguments) -> str:
    """The operator's tool for money; it answers in words."""
    return run(ROOT / ".build" / "release" / "billing", *arguments)


def options(values: dict) -> list:
    """`max_concurrent=4` becomes `--max-concurrent 4`; a list repeats its option; None is left out."""
    found = []
    for name, value in values.items():
        for each in value if isinstance(value, list) else [value]:
            if each is not None:
                found += ["--" + name.replace("_", "-"), json.dumps(each) if isinstance(each, dict) else each]
    return found


def unique(prefix: str) -> str:
    return f"{prefix}-{secrets.token_hex(4)}"


@dataclass(frozen=True)
class Key:
    id: str
    key: str

    def revoke(self):
        migrate("key", "revoke", "--id", self.id)


@dataclass(frozen=True)
class User:
    id: str
    email: str


@dataclass(frozen=True)
class Endpoint:
    id: str
    slug: str
    model: str


@dataclass(frozen=True)
class Project:
    id: str
    slug: str

    @classmethod
    def create(cls, prefix: str = "e2e", credit: str | None = "1000") -> "Project":
        """A new project with that many dollars of credit; without credit only what is free can be used."""
        slug = unique(prefix)
        made = migrate("project", "set", "--slug", slug, "--name", f"Tests {slug}")
        if credit:
            billing("grant", "--project", slug, "--usd", credit, "--key", f"grant:{slug}")
        return cls(made["id"], made["slug"])

    def top_up(self, usd: str):
        billing("topup", "--project", self.slug, "--usd", usd, "--reference", unique("test"))

    def key(self, scopes: str = "inference", **values) -> Key:
        named = {"project": self.slug, "name": unique("key"), "scopes": scopes, **values}
        made = migrate("key", "create", *options(named))
        return Key(made["id"], made["key"])

    def member(self, role: str) -> "User":
        """A new user with this role here."""
        email = f"{unique('user')}@example.test"
        made = migrate("user", "set", "--email", email, "--name", "Somebody")
        user = User(made["id"], email)
        self.set_role(user, role)
        return user

    def set_role(self, user: "User", role: str):
        migrate("member", "set", "--project", self.slug, "--email", user.email, "--role", role)

    def expired_key(self) -> Key:
        """A key that was good for a moment: none can be made that never was."""
        # At least a second is left while the tool starts: it refuses an expiry in the past.
        expires_at = int(time.time()) + 2
        key = self.key(expires_at=expires_at)
        time.sleep(max(expires_at + 0.1 - time.time(), 0))
        return key

    def endpoint(self, upstream_url, slug: str | None = None, model: str = "served-model", **values) -> Endpoint:
        named = {
            "project": self.slug,
            "slug": slug or unique("ep"),
            "tier": "demo",
            "model": model,
            "task_mode": "generate",
            "upstream_url": upstream_url,
            "upstream_model": "scripted-model",
            "context_length": 4096,
            "max_concurrent": 256,
            **values,
        }
        made = migrate("endpoint", "set", *options(named))
        return Endpoint(made["id"], made["slug"], model)


def tier(**values) -> str:
    """A tier of the tests: uncapped unless said otherwise. Its slug."""
    named = {
        "slug": unique("tier").replace("-", "_"),
        "price_nano_per_mtok": 1_000_000_000,
        "tokens_per_minute": "none",
        "requests_per_minute": "none",
        "burst_floor": 10,
        "request_timeout_s": 300,
        "idle_stream_s": 600,
        "concurrent": 1000,
        "queue_wait_s": 10,
        "batch_width": 8,
        "priority": 25,
        **values,
    }
    migrate("tier", "set", *options(named))
    return named["slug"]
