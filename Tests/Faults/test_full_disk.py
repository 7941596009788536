"""A disk that is full: what was accepted stays, what finds no room is refused and half of it is nowhere, and with room all is as before."""

import os
import shutil
import subprocess
import tempfile

import httpx
import pytest

from harness import store
from harness.calls import expect_error
from harness.disk import SmallDisk, needs_root
from harness.store import SERVERS, stored, sweep, upload
from harness.together import eventually, together

MIB = 1 << 20


def store_answers() -> bool:
    try:
        return store.ask("", prefix="none").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def small_store(processes, stack, victim):
    """The store's disk has 40 MiB, and not one object."""
    needs_root()
    for name in reversed(SERVERS):
        processes.stop(name)
    disk = None
    try:
        disk = SmallDisk(stack.folder / "store" / "data" / "d1", 40, keep=["accounts", "containers"])
        for name in SERVERS:
            processes.start(name)
        eventually(store_answers, seconds=60, every=0.5)
        yield disk
    finally:
        for name in reversed(SERVERS):
            processes.stop(name)
        if disk:
            disk.close()
        for name in SERVERS:
            processes.start(name)
        eventually(store_answers, seconds=60, every=0.5)


def content(caller, file: str) -> bytes:
    answer = caller.get(f"/v1/files/{file}/content", timeout=120)
    return answer.content if answer.status_code == 200 else b""


def names(caller) -> set:
    return {file["id"] for file in caller.get("/v1/files?limit=2000").json()["data"]}


@pytest.mark.short
@pytest.mark.limit(300)
def test_a_full_store_refuses_uploads_and_keeps_what_it_has(victim, small_store, stack, usage):
    prefix = f"{victim.project.id}/"
    accepted = os.urandom(MIB)  # larger than what has a hot copy
    kept = upload(victim.caller, accepted, timeout=120).json()
    # More than there is room for: it fills the disk, in the middle of a file.
    expect_error(upload(victim.caller, os.urandom(60 * MIB), timeout=200), 503, "storage_unavailable")
    small_store.fill()
    refused = upload(victim.caller, os.urandom(MIB), timeout=120)
    expect_error(refused, 503, "storage_unavailable")
    assert int(refused.headers["retry-after"]) >= 1
    assert names(victim.caller) == {kept["id"]} and content(victim.caller, kept["id"]) == accepted
    assert stored(usage, victim.project) == (MIB, 0, 1, 1)
    assert victim.chat("hi").status_code == 200
    small_store.make_room()
    # What was given up may have found no room to be deleted in; nobody saw it, and the sweeper does it now.
    eventually(lambda: not sweep(stack, 1) and store.keys(prefix) == [f"{prefix}file/{kept['id']}/0"], seconds=120)
    again = os.urandom(5 * MIB)
    made = upload(victim.caller, again, timeout=120).json()
    assert content(victim.caller, made["id"]) == again and content(victim.caller, kept["id"]) == accepted
    assert stored(usage, victim.project) == (6 * MIB, 0, 2, 2)


@pytest.mark.long
@pytest.mark.limit(600)
def test_what_is_accepted_while_the_store_fills_up_again_and_again_is_whole(victim, small_store, stack, usage):
    prefix = f"{victim.project.id}/"
    accepted, refused = {}, 0
    for _ in range(3):
        for _ in range(6):
            contents = [os.urandom(size) for size in (3 * MIB, MIB, 9 * MIB, 300_000)]
            for bytes_, answer in zip(contents, together(4, lambda number: upload(victim.caller, contents[number], timeout=200))):
                if answer.status_code == 200:
                    accepted[answer.json()["id"]] = bytes_
                else:
                    expect_error(answer, 503, "storage_unavailable")
                    refused += 1
        assert names(victim.caller) == set(accepted)
        assert stored(usage, victim.project) == (sum(map(len, accepted.values())), 0, len(accepted), len(accepted))
        for file, bytes_ in accepted.items():
            eventually(lambda: content(victim.caller, file) == bytes_, seconds=60)
        # Half of them go. A store without room cannot note a deletion, so the operator gives it some.
        small_store.fill()
        for file in list(accepted)[::2]:
            assert victim.caller.call("DELETE", f"/v1/files/{file}").status_code == 200
            del accepted[file]
        assert names(victim.caller) == set(accepted)
        small_store.make_room()
        subsidence = lambda: {key.split("/")[2] for key in store.keys(prefix)} == set(accepted)  # noqa: E731
        eventually(lambda: not sweep(stack, 1) and subsidence(), seconds=120)
    assert refused > 0 and accepted, "the disk was never full, or always"


@pytest.fixture
def small_database(processes, stack, victim):
    """Postgres has 60 MiB of disk beyond what it holds; afterwards its data are moved back to where they were."""
    needs_root()
    data = stack.folder / "postgres" / "data"
    processes.stop("postgres")
    moved = None
    try:
        held = int(subprocess.run(["du", "-sm", data], check=True, capture_output=True, text=True).stdout.split()[0])
        moved = SmallDisk(data, held + 60, keep=sorted(path.name for path in data.iterdir()))
        os.chmod(data, 0o700)
        processes.start("postgres")
        processes.wait_until_back()
        yield moved
    finally:
        if moved:
            moved.make_room()
            processes.stop("postgres")
            with tempfile.TemporaryDirectory() as aside:
                subprocess.run(["cp", "-a", f"{data}/.", aside], check=True)
                moved.close()
                for path in data.iterdir():
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                subprocess.run(["cp", "-a", f"{aside}/.", data], check=True)
        processes.start("postgres")


@pytest.mark.long
@pytest.mark.limit(600)
def test_a_full_disk_of_the_database_loses_nothing_that_was_accepted(victim, small_database, processes, stack, usage):
    prefix = f"{victim.project.id}/"
    kept = upload(victim.caller, b"kept").json()
    small_database.fill()
    accepted, refused = {kept["id"]: b"kept"}, 0
    client, headers = victim.caller.client, victim.caller.headers(None, "own")
    large = {"purpose": "vision", "relative_path": "p" * 1_000, "attributes": '{"a":"' + "x" * 500 + '"}'}  # rows that soon need another page
    for _ in range(1_000):
        if refused == 10:
            break
        body = os.urandom(500)
        answer = client.post("/v1/files", files={"file": ("a", body)}, data=large, headers=headers, timeout=120)
        if answer.status_code == 200:
            accepted[answer.json()["id"]] = body
        else:
            assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1, answer.text
            refused += 1
    assert refused > 0, "Postgres never missed the room"
    small_database.make_room()
    processes.wait_until_back()
    eventually(lambda: client.get("/v1/files?limit=1", headers=headers).status_code == 200, seconds=90, every=0.5)
    found = names(victim.caller)
    # One whose commit was on its way may be there although its client heard of an error; whole, then.
    assert set(accepted) <= found and len(found) <= len(accepted) + refused
    for file, body in accepted.items():
        assert content(victim.caller, file) == body
    for file in found:
        assert len(content(victim.caller, file)) == victim.caller.get(f"/v1/files/{file}").json()["bytes"]
    eventually(lambda: not sweep(stack, 0.001) and {key.split("/")[2] for key in store.keys(prefix)} == found, seconds=120)
    total = sum(file["bytes"] for file in victim.caller.get("/v1/files?limit=2000").json()["data"])
    assert stored(usage, victim.project) == (total, 0, len(found), len(found))
    assert upload(victim.caller, b"after").status_code == 200
