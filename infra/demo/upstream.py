#!/usr/bin/env python3
"""The model server behind the demo endpoint: `upstream.py host URL` prints the host:port that the operator must allow."""

import sys
import urllib.parse

import httpx


def host(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SystemExit(f"XEROTIER_DEMO_UPSTREAM={url}: a URL like http://127.0.0.1:8000/v1 is needed")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{name}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def first_model(url: str) -> str:
    """The first model that an OpenAI-compatible server lists. Its URL may or may not end in /v1, as an SDK's base_url may."""
    base = url.rstrip("/").removesuffix("/v1")
    try:
        answer = httpx.get(f"{base}/v1/models", timeout=10)
        return answer.raise_for_status().json()["data"][0]["id"]
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
        raise SystemExit(f"{url} does not list its models ({error!r}): set XEROTIER_DEMO_MODEL") from None


def slots(url: str) -> tuple[int, int]:
    """How many requests the default engine answers at a time there, and how many tokens each may have, as it says."""
    said = httpx.get(f"{url.removesuffix('/v1')}/props", timeout=10).raise_for_status().json()
    return said["total_slots"], said["default_generation_settings"]["n_ctx"]


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["host", url]:
            print(host(url))
        case _:
            raise SystemExit(__doc__)
