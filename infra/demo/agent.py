#!/usr/bin/env python3
"""Enrols an agent of the project `demo`, unless there is one already, and waits until it serves the model of the default engine."""

import json
import os
import subprocess
import sys
import time

import httpx

import environment
from seed import TIER

AGENTS = "/management/agents"
ENROLMENT = environment.ROOT / ".run" / "agent" / ".config" / "xerotier" / "enrollment.json"


def asked(admin: httpx.Client, method: str, path: str, **values) -> dict:
    answer = admin.request(method, path, **values)
    if answer.is_error:
        raise SystemExit(f"{method} {path} failed: {answer.status_code} {answer.text[:300]}")
    return answer.json()


def enrolled(admin: httpx.Client) -> dict | None:
    """The agent of the last run, as long as the platform knows it."""
    agents = {agent["id"]: agent for agent in asked(admin, "GET", AGENTS)["data"]}
    return agents.get(json.loads(ENROLMENT.read_text())["agent_id"]) if ENROLMENT.exists() else None


def enrol(admin: httpx.Client) -> None:
    """With a key that is good for one agent and a few minutes."""
    for agent in asked(admin, "GET", AGENTS)["data"]:
        asked(admin, "DELETE", f"{AGENTS}/{agent['id']}")
    key = asked(admin, "POST", "/management/join-keys", json={"supported_tiers": [TIER], "region": "local"})["key"]
    stack = [sys.executable, environment.ROOT / "infra" / "stack", "agent", "--dir", environment.ROOT / ".run"]
    done = subprocess.run(stack, env=os.environ | {"XEROTIER_AGENT_JOIN_KEY": key})
    if done.returncode:
        raise SystemExit(done.returncode)


def serving(admin: httpx.Client) -> dict:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        agent = enrolled(admin)
        if agent and agent["status"] == "active" and agent["models"]:
            return agent
        time.sleep(0.2)
    raise SystemExit("the agent does not serve its model; see .run/log/agent.log")


def main() -> None:
    demo = environment.read(environment.DEMO)
    with httpx.Client(base_url=demo["XEROTIER_HTTP_URL"], headers={"Authorization": f"Bearer {demo['XEROTIER_ADMIN_KEY']}"}, timeout=10) as admin:
        if not enrolled(admin):
            enrol(admin)
        agent = serving(admin)
    print(f"agent {agent['worker_id']} serves {', '.join(model['model_id'] for model in agent['models'])}")


if __name__ == "__main__":
    main()
