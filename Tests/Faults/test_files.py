"""Files when things die: what was accepted stays, what was not leaves nothing."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from harness import store
from harness.calls import expect_error
from harness.raw import RawCall
from harness.store import SERVERS, stored, sweep, upload
from harness.together import eventually

FRAME = 4 << 20


def form(content: bytes) -> bytes:
    head = b"--bbb\r\nContent-Disposition: form-data; name=purpose\r\n\r\nuser_data\r\n--bbb\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\n"
    return head + content + b"\r\n--bbb--\r\n"


def begin(stack, key: str, body: bytes, sent: int) -> RawCall:
    head = f"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Type: multipart/form-data; boundary=bbb\r\nContent-Length: {len(body)}\r\n\r\n"
    return RawCall(stack.http_address).send(head.encode() + body[:sent])


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
    kept = upload(victim.caller, os.urandom(300_000)).json()
    small = upload(victim.caller, b"small").json()
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
        assert victim.caller.get(f"/v1/files/{small['id']}/content").content == b"small"  # of which Redis has a sealed copy
        assert stored(usage, victim.project) == before
    finally:
        for name in SERVERS:
            processes.start(name)
    read = f"/v1/files/{kept['id']}/content"
    eventually(lambda: victim.caller.client.get(read, headers=victim.caller.headers(None, "own")).status_code == 200, seconds=90, every=0.5)
    eventually(lambda: victim.caller.client.post("/v1/files", files={"file": ("a", b"back")}, data={"purpose": "vision"}, headers=victim.caller.headers(None, "own")).status_code == 200, seconds=60, every=0.5)


@pytest.mark.short
@pytest.mark.limit(300)
def test_what_was_accepted_survives_the_death_of_the_store(victim, processes, stack, usage):
    accepted = {}
    killed = 0

    def upload(number: int) -> bool:
        content = os.urandom(20_000) + bytes([number])
        answer = victim.caller.client.post("/v1/files", files={"file": ("a", content)}, data={"purpose": "vision"}, headers=victim.caller.headers(None, "own"), timeout=120)
        if answer.status_code == 200:
            accepted[answer.json()["id"]] = content
        else:
            assert answer.status_code == 503, answer.text
        return answer.status_code == 200

    for number in range(40):
        upload(number)
        if number in (8, 20):
            for name in SERVERS:
                processes.kill(name)
            killed += 1
            eventually(lambda: all(name in processes.programs for name in SERVERS), seconds=60)
    assert killed == 2 and accepted
    eventually(lambda: upload(40), seconds=60, every=0.5)

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


@pytest.mark.long
@pytest.mark.limit(600)
def test_a_large_upload_that_is_cut_at_every_64_kib_leaves_nothing(victim, stack, usage):
    """Over three frames, of which two may be on their way to the store when the client goes."""
    body = form(os.urandom(3 * FRAME + 100_000))
    for sent in range(64 << 10, len(body), 64 << 10):
        begin(stack, victim.key.key, body, sent).close()
        # Never more than a few are left behind at once.
        if sent % (16 * (64 << 10)) == 0:
            eventually(lambda: stored(usage, victim.project) == (0, 0, 0, 0), seconds=60)
    eventually(lambda: stored(usage, victim.project) == (0, 0, 0, 0), seconds=60)
    assert victim.caller.get("/v1/files").json()["data"] == []
    eventually(lambda: not sweep(stack, 1) and store.keys(f"{victim.project.id}/") == [], seconds=120)


@pytest.mark.long
@pytest.mark.limit(600)
def test_gateways_and_store_that_are_killed_again_and_again_during_uploads_lose_nothing(victim, processes, stack, usage):
    accepted, failed = {}, 0
    client, headers = victim.caller.client, victim.caller.headers(None, "own")
    victims = ["uploads-0", "store-object", "uploads-1", "store-proxy", "store-container"]

    def one(number: int):
        body = os.urandom(2 * FRAME + 1_000 * number)
        try:
            answer = client.post("/v1/files", files={"file": ("a", body)}, data={"purpose": "vision"}, headers=headers, timeout=120)
        except httpx.TransportError:
            return None
        if answer.status_code == 200:
            return answer.json()["id"], body
        assert answer.status_code in (429, 502, 503), answer.text
        return None

    for number in range(20):
        calls = together_while(lambda: processes.kill(victims[number % len(victims)]), [lambda n=n: one(4 * number + n) for n in range(4)])
        for made in calls:
            if made:
                accepted[made[0]] = made[1]
            else:
                failed += 1
        eventually(lambda: {*SERVERS, "uploads-0", "uploads-1"} <= set(processes.programs), seconds=60)
    eventually(lambda: files_work(victim.caller), seconds=60)
    assert accepted and failed, (len(accepted), failed)
    for file, body in accepted.items():
        eventually(lambda: client.get(f"/v1/files/{file}/content", headers=headers, timeout=120).content == body, seconds=60)
    found = {file["id"]: file["bytes"] for file in victim.caller.get("/v1/files?limit=1000").json()["data"]}
    # A commit whose answer was lost is there all the same, and whole.
    assert set(accepted) <= set(found)
    for file, count in found.items():
        assert len(client.get(f"/v1/files/{file}/content", headers=headers, timeout=120).content) == count
    eventually(lambda: not sweep(stack, 0.001) and {key.split("/")[2] for key in store.keys(f"{victim.project.id}/")} == set(found), seconds=180)
    assert stored(usage, victim.project) == (sum(found.values()), 0, len(found), len(found))


def together_while(body, calls: list) -> list:
    """Runs the calls in threads, and the body in the middle of them."""
    with ThreadPoolExecutor(len(calls)) as pool:
        running = [pool.submit(call) for call in calls]
        time.sleep(0.15)
        body()
        return [each.result() for each in running]
