#!/usr/bin/env python3
"""Makes the project `demo` with its endpoints, 100 USD of credit and a key, or changes them to what is wanted now, and writes .run/demo.env."""

import json
import os
import subprocess
import time

import httpx

import environment
import upstream

PROJECT, ENDPOINT, TIER = "demo", "demo", "demo"
# The default engine has two more models: for each endpoint its task mode, and the variables with the engine's URL and with the endpoint's slug.
MORE_ENDPOINTS = {
    "demo-embed": ("embed", "XEROTIER_ENGINE_EMBEDDINGS_URL", "XEROTIER_EMBEDDINGS_ENDPOINT"),
    "demo-rerank": ("score", "XEROTIER_ENGINE_RERANK_URL", "XEROTIER_RERANK_ENDPOINT"),
}
# A second tenant, so that the walls between two can be tried out.
PROJECT_B = "demo-b"
# Dollars.
CREDIT = "100"


def run(program: str, stack: dict[str, str], *arguments: str) -> str:
    binary = environment.ROOT / ".build" / "release" / program
    done = subprocess.run([binary, *arguments], env=os.environ | stack, cwd=environment.ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{program} {' '.join(arguments[:2])} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def migrate(stack: dict[str, str], *arguments: str) -> dict:
    return json.loads(run("migrate", stack, *arguments))


def endpoint_arguments(stack: dict[str, str]) -> list[str]:
    """A server that was named is asked for its model, unless that is named too."""
    if url := os.environ.get("XEROTIER_DEMO_UPSTREAM"):
        model = os.environ.get("XEROTIER_DEMO_MODEL") or upstream.first_model(url)
        return ["--model", model, "--upstream-url", url, "--max-concurrent", "4096"]
    # An agent serves its model, see agent.py.
    return ["--no-upstream", *model_arguments(stack["XEROTIER_ENGINE_URL"])]


def model_arguments(url: str) -> list[str]:
    return ["--model", upstream.first_model(url), "--context-length", str(upstream.slots(url)[1])]


def engine_arguments(url: str) -> list[str]:
    """What the default engine says of itself, and that it is llama.cpp: until its health is probed nobody else knows."""
    return ["--engine", "llama_cpp", "--upstream-url", url, "--max-concurrent", str(upstream.slots(url)[0]), *model_arguments(url)]


def set_endpoint(stack: dict[str, str], slug: str, *arguments: str) -> None:
    migrate(stack, "endpoint", "set", "--project", PROJECT, "--slug", slug, "--tier", TIER, *arguments)


def set_more_endpoints(stack: dict[str, str]) -> dict[str, str]:
    """Answers the variables with their slugs: none where the default engine does not run."""
    shown = {}
    for slug, (mode, url, variable) in MORE_ENDPOINTS.items():
        if stack[url]:
            set_endpoint(stack, slug, "--task-mode", mode, *engine_arguments(stack[url]))
            shown[variable] = slug
    return shown


def wait_until_ready(stack: dict[str, str]) -> None:
    url = stack["XEROTIER_HTTP_URL"].removesuffix("/v1") + "/readyz"
    deadline, answer = time.monotonic() + 60, "nothing"
    while time.monotonic() < deadline:
        try:
            found = httpx.get(url, timeout=5)
            if found.status_code == 200:
                return
            answer = f"{found.status_code} {found.text[:200]}"
        except httpx.HTTPError as error:
            answer = repr(error)
        time.sleep(0.1)
    raise SystemExit(f"the platform is not ready: {url} says {answer}; see .run/log")


def is_known(stack: dict[str, str], key: str | None, project: str) -> bool:
    """Whether the database still has the key: it may have been emptied or replaced since."""
    if not key:
        return False
    answer = httpx.get(stack["XEROTIER_HTTP_URL"] + "/management/whoami", headers={"Authorization": f"Bearer {key}"}, timeout=10)
    if answer.status_code not in (200, 401):
        raise SystemExit(f"the demo key could not be checked: {answer.status_code} {answer.text[:200]}")
    return answer.status_code == 200 and answer.json()["project"]["slug"] == project


def demo_key(stack: dict[str, str], variable: str, project: str, scopes: str) -> str:
    """The key of the last run, or a new one where that is not good any more."""
    key = environment.read(environment.DEMO).get(variable)
    if is_known(stack, key, project):
        return key
    print(f"made a new API key: {variable}")
    return migrate(stack, "key", "create", "--project", project, "--name", variable.lower(), "--scopes", scopes)["key"]


def main() -> None:
    stack = environment.read(environment.STACK)
    migrate(stack, "project", "set", "--slug", PROJECT, "--name", "Demo")
    # Once, however often this runs.
    print(run("billing", stack, "grant", "--project", PROJECT, "--usd", CREDIT, "--key", "grant:demo").strip())
    set_endpoint(stack, ENDPOINT, *endpoint_arguments(stack))
    more = set_more_endpoints(stack)
    migrate(stack, "project", "set", "--slug", PROJECT_B, "--name", "Demo B")
    wait_until_ready(stack)
    shown = {name: stack[name] for name in ["XEROTIER_BASE_URL", "XEROTIER_HTTP_URL"]}
    shown |= {
        "XEROTIER_API_KEY": demo_key(stack, "XEROTIER_API_KEY", PROJECT, "inference,management"),
        "XEROTIER_PROJECT": PROJECT,
        "XEROTIER_ENDPOINT": ENDPOINT,
        **more,
        "XEROTIER_ADMIN_KEY": demo_key(stack, "XEROTIER_ADMIN_KEY", PROJECT, "management"),
        "XEROTIER_PROJECT_B": PROJECT_B,
        "XEROTIER_API_KEY_B": demo_key(stack, "XEROTIER_API_KEY_B", PROJECT_B, "inference,management"),
    }
    shown |= {name: stack[name] for name in ["XEROTIER_CA_FILE", "DATABASE_URL"]}
    environment.write(environment.DEMO, shown)
    print(f"project {PROJECT}, endpoints {', '.join([ENDPOINT, *more.values()])}: see .run/demo.env")


if __name__ == "__main__":
    main()
