"""Files when things die: what was accepted stays, what was not leaves nothing."""

import json
import os
import subprocess

import httpx
import pytest

from harness import store
from harness.calls import expect_error
from harness.raw import RawCall
from harness.stack import ROOT
from harness.store import stored
from harness.together import eventually

SERVERS = ["store-account", "store-container", "store-object", "store-proxy"]
FRAME = 4 << 20


def upload(caller, content: bytes, **values) -> httpx.Response:
    return caller.call("POST", "/v1/files", files={"file": ("a", content)}, data={"purpose": "user_data"}, **values)


def form(content: bytes) -> bytes:
    head = b"--bbb\r\nContent-Disposition: form-data; name=purpose\r\n\r\nuser_data\r\n--bbb\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\n"
    return head + content + b"\r\n--bbb--\r\n"


def begin(stack, key: str, body: bytes, sent: int) -> RawCall:
    head = f"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Type: multipart/form-data; boundary=bbb\r\nContent-Length: {len(body)}\r\n\r\n"
    return RawCall(stack.http_address).send(head.encode() + body[:sent])


def sweep(stack, scale: float):
    """One sweep in which time runs faster."""
    binaries = json.loads((stack.folder / "settings.json").read_text())["binaries"]
    environment = {**os.environ, "XEROTIER_TIME_SCALE": str(scale)}
    done = subprocess.run([f"{binaries}/sweeper", "--once"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def files_work(caller) -> bool:
    try:
        return all(caller.client.get("/v1/files", headers=caller.headers(None, "own")).status_code == 200 for _ in range(4))
    except httpx.TransportError:
        return False


@pytest.mark.short
@pytest.mark.limit(300)
def test_a_gateway_that_is_killed_in_an_upload_leaves_no_row_and_no_object(victim, processes, stack, usage):
    kept = upload(victim.caller, b"kept").json()
    call = begin(stack, victim.key.key, form(os.urandom(3 * FRAME)), 2 * FRAME + 1_000_000)
    prefix = f"{victim.project.id}/"
    eventually(lambda: len(store.keys(prefix)) >= 2, seconds=60)
    for name in ("uploads-0", "uploads-1"):
        processes.kill(name)
    call.close()
    eventually(lambda: files_work(victim.caller), seconds=60)
    assert [file["id"] for file in victim.caller.get("/v1/files").json()["data"]] == [kept["id"]]
    assert stored(usage, victim.project)[1:] == (3 * FRAME + len(form(b"")), 2, 1)  # what was reserved waits for the sweeper
    eventually(lambda: not sweep(stack, 0.001) and stored(usage, victim.project) == (4, 0, 1, 1), seconds=60)
    assert store.keys(prefix) == [f"{prefix}file/{kept['id']}/0"]
    assert victim.caller.get(f"/v1/files/{kept['id']}/content").content == b"kept"


@pytest.mark.short
@pytest.mark.limit(300)
def test_without_the_store_files_wait_and_chats_go_on(victim, processes, usage):
    kept = upload(victim.caller, b"kept").json()
    before = stored(usage, victim.project)
    try:
        for name in reversed(SERVERS):
            processes.stop(name)
        refused = upload(victim.caller, b"refused", timeout=120)
        expect_error(refused, 503, "storage_unavailable")
        assert int(refused.headers["retry-after"]) >= 1
        expect_error(victim.caller.get(f"/v1/files/{kept['id']}/content", timeout=120), 503, "storage_unavailable")
        assert victim.chat("hi").status_code == 200
        assert victim.caller.get(f"/v1/files/{kept['id']}").json() == kept
        assert stored(usage, victim.project) == before
    finally:
        for name in SERVERS:
            processes.start(name)
    read = f"/v1/files/{kept['id']}/content"
    eventually(lambda: victim.caller.client.get(read, headers=victim.caller.headers(None, "own")).content == b"kept", seconds=90, every=0.5)
    eventually(lambda: victim.caller.client.post("/v1/files", files={"file": ("a", b"back")}, data={"purpose": "vision"}, headers=victim.caller.headers(None, "own")).status_code == 200, seconds=60, every=0.5)


@pytest.mark.short
@pytest.mark.limit(300)
def test_what_was_accepted_survives_the_death_of_the_store(victim, processes, stack, usage):
    accepted = {}
    killed = 0
    for number in range(40):
        content = os.urandom(20_000) + bytes([number])
        answer = victim.caller.client.post("/v1/files", files={"file": ("a", content)}, data={"purpose": "vision"}, headers=victim.caller.headers(None, "own"), timeout=120)
        if answer.status_code == 200:
            accepted[answer.json()["id"]] = content
        else:
            assert answer.status_code == 503, answer.text
        if number in (8, 20):
            for name in SERVERS:
                processes.kill(name)
            killed += 1
            eventually(lambda: all(name in processes.programs for name in SERVERS), seconds=60)
    assert killed == 2 and len(accepted) >= 10

    def intact(name: str, content: bytes) -> bool:
        return victim.caller.client.get(f"/v1/files/{name}/content", headers=victim.caller.headers(None, "own"), timeout=120).content == content

    eventually(lambda: all(intact(*each) for each in accepted.items()), seconds=120, every=1)
    assert {file["id"] for file in victim.caller.get("/v1/files?limit=100").json()["data"]} == set(accepted)
    assert stored(usage, victim.project) == (20_001 * len(accepted), 0, len(accepted), len(accepted))


@pytest.mark.short
@pytest.mark.limit(300)
def test_uploads_that_are_cut_at_every_64_kib_leave_nothing(victim, stack, usage):
    body = form(os.urandom(1 << 20))
    for sent in range(64 << 10, len(body), 64 << 10):
        call = begin(stack, victim.key.key, body, sent)
        # The gateway reads 128 KiB at a time: with less of it nothing begins.
        if sent >= 192 << 10:
            eventually(lambda: stored(usage, victim.project)[1:3] == (len(body), 1), seconds=60)
        call.close()
        eventually(lambda: stored(usage, victim.project) == (0, 0, 0, 0), seconds=60)
    assert victim.caller.get("/v1/files").json()["data"] == []


@pytest.mark.short
@pytest.mark.limit(120)
def test_a_file_whose_time_is_over_is_gone_at_once_and_its_bytes_with_the_next_sweep(victim, stack, usage):
    values = {"purpose": "user_data", "expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    made = victim.caller.call("POST", "/v1/files", files={"file": ("a", b"brief")}, data=values).json()
    # An hour passes.
    usage.query("UPDATE files SET expires_at = now() - interval '1 second' WHERE id = %s RETURNING 1", made["id"])
    for path in ("", "/content"):
        expect_error(victim.caller.get(f"/v1/files/{made['id']}{path}"), 404, "file_not_found")
    assert victim.caller.get("/v1/files").json()["data"] == []
    eventually(lambda: not sweep(stack, 1) and store.keys(f"{victim.project.id}/") == [], seconds=60)
    assert stored(usage, victim.project) == (0, 0, 0, 0)
    assert victim.caller.get("/v1/storage").json()["bytes_used"] == 0
