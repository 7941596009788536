"""Files (spec 03 §3): what the official SDK does with them, and what is refused, without a trace."""

import hashlib
import json
import os
import secrets
from pathlib import Path

import httpx
import openai
import pytest

from harness.calls import Caller, expect_error
from harness.raw import RawCall
from harness.store import raw_object, stored
from harness.tenants import Project
from harness.together import eventually, together

FRAME = 4 << 20
MARKER = b"a sentence that stands in no other file " + secrets.token_hex(8).encode()


@pytest.fixture(scope="module")
def desk(make_tenant):
    """A project of its own."""
    return make_tenant(slug="desk")


@pytest.fixture(scope="module")
def sdk(desk, stack, sdk_http) -> openai.OpenAI:
    return openai.OpenAI(base_url=stack.https_url, api_key=desk.key.key, max_retries=0, http_client=sdk_http)


def upload(caller: Caller, content: bytes = b"hello", name: str = "a.txt", purpose: str | None = "user_data", **values) -> httpx.Response:
    headers = values.pop("headers", None)
    data = {**({"purpose": purpose} if purpose is not None else {}), **values}
    return caller.call("POST", "/v1/files", files={"file": (name, content, "text/plain")}, data=data, headers=headers)


def form(*parts: tuple, boundary: str = "bbb") -> bytes:
    """Parts as (disposition, bytes)."""
    lines = [f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + body + b"\r\n" for head, body in parts]
    return b"".join(lines) + f"--{boundary}--\r\n".encode()


PURPOSE = ("name=purpose", b"user_data")
FILE = ('name=file; filename="a.txt"', b"hello")


def send(caller: Caller, body: bytes, kind: str = "multipart/form-data; boundary=bbb") -> httpx.Response:
    return caller.call("POST", "/v1/files", content=body, headers={"Content-Type": kind})


# The official SDK


def test_the_sdk_uploads_lists_reads_and_deletes(sdk):
    content = b'{"custom_id": "1"}\n' + MARKER
    made = sdk.files.create(file=("lines.jsonl", content), purpose="batch")
    assert (made.object, made.bytes, made.filename, made.purpose, made.status) == ("file", len(content), "lines.jsonl", "batch", "processed")
    assert made.id.startswith("file-") and made.expires_at > made.created_at
    other = sdk.files.create(file=("notes.txt", b"notes"), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600})
    assert other.expires_at == other.created_at + 3600
    assert [file.id for file in sdk.files.list(limit=1)][:2] == [other.id, made.id]  # it pages by itself, newest first
    assert [file.id for file in sdk.files.list(purpose="batch")] == [made.id]
    assert sdk.files.retrieve(made.id) == made
    assert sdk.files.content(made.id).read() == content
    assert sdk.files.wait_for_processing(made.id).status == "processed"
    gone = sdk.files.delete(made.id)
    assert (gone.id, gone.object, gone.deleted) == (made.id, "file", True)
    for call in (sdk.files.retrieve, sdk.files.delete, sdk.files.content):
        with pytest.raises(openai.NotFoundError) as error:
            call(made.id)
        assert error.value.code == "file_not_found"
    assert [file.id for file in sdk.files.list(after=made.id)] == []  # a list goes on behind a deleted file
    sdk.files.delete(other.id)


def test_a_file_of_several_frames_comes_back_whole_and_in_ranges(desk):
    content = os.urandom(2 * FRAME + 12_345)
    made = upload(desk.caller, content, purpose="assistants").json()
    assert made["x_sha256"] == hashlib.sha256(content).hexdigest() and made["bytes"] == len(content)
    path = f"/v1/files/{made['id']}/content"
    whole = desk.caller.get(path)
    assert whole.status_code == 200 and whole.content == content
    assert whole.headers["etag"] == f'"{made["x_sha256"]}"' and whole.headers["content-type"] == "text/plain"
    assert whole.headers["content-length"] == str(len(content)) and whole.headers["accept-ranges"] == "bytes"
    for text, piece in {
        "0-9": content[:10], f"{FRAME - 3}-{FRAME + 3}": content[FRAME - 3 : FRAME + 4], "-7": content[-7:], f"{2 * FRAME}-": content[2 * FRAME :],
    }.items():
        part = desk.caller.get(path, headers={"Range": f"bytes={text}"})
        assert part.status_code == 206 and part.content == piece, text
        start = content.rindex(piece) if text == "-7" else int(text.split("-")[0])
        assert part.headers["content-range"] == f"bytes {start}-{start + len(piece) - 1}/{len(content)}"
    assert desk.caller.get(path, headers={"Range": "bytes=0-9", "If-Range": '"other"'}).status_code == 200
    assert desk.caller.get(path, headers={"Range": "bytes=0-9", "If-Range": whole.headers["etag"]}).status_code == 206
    behind = desk.caller.get(path, headers={"Range": f"bytes={len(content)}-"})
    expect_error(behind, 416, "range_not_satisfiable")
    assert behind.headers["content-range"] == f"bytes */{len(content)}"


def test_what_is_uploaded_runs_in_no_browser(desk):
    for name, kind in {"page.html": "text/html", "picture.svg": "image/svg+xml", 'na"ïve☃.txt': "bad\ttype"}.items():
        made = desk.caller.call("POST", "/v1/files", files={"file": (name, b"<script>1</script>", kind)}, data={"purpose": "user_data"}).json()
        answer = desk.caller.get(f"/v1/files/{made['id']}/content")
        assert answer.headers["content-disposition"].startswith('attachment; filename="')
        assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["content-security-policy"] == "sandbox"
        assert answer.headers["content-type"] == (kind if "\t" not in kind else "application/octet-stream")
        assert made["filename"] == name
    assert "filename*=UTF-8''na%22%C3%AFve%E2%98%83.txt" in answer.headers["content-disposition"]


def test_the_file_is_stored_sealed(desk, usage):
    made = upload(desk.caller, MARKER).json()
    key = usage.query("SELECT object_key FROM files WHERE id = %s", made["id"])[0]["object_key"]
    assert key == f"{desk.project.id}/file/{made['id']}"
    assert MARKER not in raw_object(f"{key}/0")
    assert desk.caller.get(f"/v1/files/{made['id']}/content").content == MARKER


def test_parts_come_in_any_order_and_attributes_and_paths_are_kept(desk, usage):
    body = form(FILE, ("name=relative_path", b"docs/a.txt"), ("name=attributes", b'{"lang": "en", "n": 1, "ok": true}'), PURPOSE)
    made = send(desk.caller, body).json()
    assert made["x_relative_path"] == "docs/a.txt"
    kept = usage.query("SELECT attributes FROM files WHERE id = %s", made["id"])[0]["attributes"]
    assert kept in ({"lang": "en", "n": 1, "ok": True}, '{"n": 1, "ok": true, "lang": "en"}')
    found = desk.caller.get("/v1/files", params={"prefix": "docs/"}).json()["data"]
    assert [file["id"] for file in found] == [made["id"]]
    assert desk.caller.get("/v1/files", params={"prefix": "doc%"}).json()["data"] == []
    again = send(desk.caller, body).json()
    assert again["id"] != made["id"]  # the same name twice makes two files


def test_lists_page_by_cursor_and_refuse_what_they_do_not_know(desk, other_project, stack):
    project = Project.create("pages")
    caller = Caller(stack.origin, project.key().key)
    ids = [upload(caller, bytes([number])).json()["id"] for number in range(1, 6)]
    pages, after = [], None
    while True:
        page = caller.get("/v1/files", params={"limit": 2, **({"after": after} if after else {})}).json()
        pages += [file["id"] for file in page["data"]]
        after = page["last_id"]
        if not page["has_more"]:
            break
    assert pages == ids[::-1]
    assert [file["id"] for file in caller.get("/v1/files", params={"order": "asc", "limit": 10_000}).json()["data"]] == ids
    for query, param in {"limit=0": "limit", "limit=10001": "limit", "order=up": "order", "colour=red": "colour"}.items():
        expect_error(caller.get(f"/v1/files?{query}"), 400, "invalid_value", param=param)
    foreign = upload(desk.caller).json()["id"]
    expect_error(caller.get("/v1/files", params={"after": foreign}), 400, "invalid_cursor", param="after")


# Events


def events(usage, project) -> list:
    rows = usage.query("SELECT kind, payload FROM outbox WHERE project_id = %s ORDER BY created_at, id", project.id)
    return [(row["kind"], row["payload"] if isinstance(row["payload"], dict) else json.loads(row["payload"])) for row in rows if row["kind"].startswith("file.")]


def test_uploads_and_deletions_are_events_and_refusals_are_not(make_tenant, usage):
    tenant = make_tenant(slug="heard")
    made = upload(tenant.caller, b"hello", relative_path="docs/a.txt").json()
    other = upload(tenant.caller, b"hello", name="b.txt").json()
    assert upload(tenant.caller, b"", name="c.txt").status_code == 400
    data = {"file_id": made["id"], "filename": "a.txt", "purpose": "user_data", "bytes": 5, "relative_path": "docs/a.txt"}
    second = {"file_id": other["id"], "filename": "b.txt", "purpose": "user_data", "bytes": 5, "relative_path": None}
    uploaded = [("file.uploaded", data), ("file.uploaded", second)]
    assert events(usage, tenant.project) == uploaded
    for status in (200, 404):
        assert tenant.caller.call("DELETE", f"/v1/files/{made['id']}").status_code == status
    assert events(usage, tenant.project) == [*uploaded, ("file.deleted", data)]
    # One that expires is deleted by the sweeper, which tells of it too.
    usage.query("UPDATE files SET expires_at = now() WHERE id = %s RETURNING 1", other["id"])
    eventually(lambda: len(events(usage, tenant.project)) == 4, seconds=90)
    assert events(usage, tenant.project)[-1] == ("file.deleted", second)


# Walls


def test_another_projects_file_is_not_found(desk, stack, other_project):
    made = upload(desk.caller).json()
    stranger = Caller(stack.origin, other_project.key().key)
    for method, path in [("GET", ""), ("DELETE", ""), ("GET", "/content")]:
        expect_error(stranger.call(method, f"/v1/files/{made['id']}{path}"), 404, "file_not_found")
    expect_error(stranger.get(f"/{desk.project.slug}/v1/files"), 403, "cross_project_access")
    expect_error(Caller(stack.origin, desk.project.key("management").key).get("/v1/files"), 403, "scope_insufficient")
    for name in ("file-nothing", "nonsense", "file-" + "0" * 24):
        expect_error(desk.caller.get(f"/v1/files/{name}"), 404, "file_not_found")
    # All three families are the same place.
    for prefix in (f"/{desk.project.slug}", f"/{desk.project.slug}/{desk.endpoint.slug}"):
        assert desk.caller.get(f"{prefix}/v1/files/{made['id']}").json()["id"] == made["id"]


# Bad input: a clear answer, and nothing is kept


BAD_FORMS = {
    "no file": (form(PURPOSE), "missing_required_parameter", "file"),
    "no purpose": (form(FILE), "missing_required_parameter", "purpose"),
    "unknown purpose": (form(("name=purpose", b"fun"), FILE), "invalid_value", "purpose"),
    "a purpose of the system": (form(FILE, ("name=purpose", b"batch_output")), "invalid_value", "purpose"),
    "purpose is no UTF-8": (form(FILE, ("name=purpose", b"\xff")), "invalid_value", "purpose"),
    "empty": (form(PURPOSE, ("name=file; filename=a", b"")), "empty_file", "file"),
    "two files": (form(PURPOSE, FILE, FILE), "invalid_value", "file"),
    "two purposes": (form(PURPOSE, PURPOSE, FILE), "invalid_value", "purpose"),
    "file without a name": (form(PURPOSE, ("name=file", b"x")), "invalid_value", "file"),
    "a name of control characters": (form(PURPOSE, ('name=file; filename="a%0Ab"', b"x")), "invalid_value", "file"),
    "a name that is only a path": (form(PURPOSE, ('name=file; filename="../"', b"x")), "invalid_value", "file"),
    "a name of 256 bytes": (form(PURPOSE, (f'name=file; filename="{"n" * 256}"', b"x")), "invalid_value", "file"),
    "a name that is no UTF-8": (form(PURPOSE).replace(b"name=purpose", b'name=file; filename="\xff"'), "invalid_request", None),
    "path upwards": (form(PURPOSE, FILE, ("name=relative_path", b"../a")), "invalid_path", "relative_path"),
    "path from the root": (form(PURPOSE, FILE, ("name=relative_path", b"/etc/passwd")), "invalid_path", "relative_path"),
    "unknown field": (form(PURPOSE, FILE, ("name=colour", b"red")), "unsupported_parameter", "colour"),
    "attributes are no object": (form(PURPOSE, FILE, ("name=attributes", b"[]")), "invalid_value", "attributes"),
    "attributes are no JSON": (form(PURPOSE, FILE, ("name=attributes", b"{")), "invalid_value", "attributes"),
    "expires too soon": (form(PURPOSE, FILE, ('name="expires_after[anchor]"', b"created_at"), ('name="expires_after[seconds]"', b"3599")), "invalid_value", "expires_after[seconds]"),
    "expires without an anchor": (form(PURPOSE, FILE, ('name="expires_after[seconds]"', b"3600")), "invalid_value", "expires_after[anchor]"),
    "cut in the middle": (form(PURPOSE, FILE)[:-20], "invalid_request", None),
    "the last boundary is missing": (form(PURPOSE, FILE).replace(b"--bbb--\r\n", b""), "invalid_request", None),
    "another boundary": (form(PURPOSE, FILE, boundary="ccc"), "invalid_request", None),
    "a boundary with a tail": (form(PURPOSE, ('name=file; filename=a', b"x\r\n--bbbb\r\n")), "invalid_request", None),
    "something behind the end": (form(PURPOSE, FILE) + b"more", "invalid_request", None),
    "something before the beginning": (b"hello\r\n" + form(PURPOSE, FILE), "invalid_request", None),
    "no form at all": (b"hello", "invalid_request", None),
    "nothing": (b"", "invalid_request", None),
}


@pytest.fixture(scope="module")
def strict(make_tenant):
    return make_tenant(slug="strict")


@pytest.mark.parametrize("name", BAD_FORMS)
def test_a_bad_form_is_refused_and_leaves_nothing(strict, usage, name):
    body, code, param = BAD_FORMS[name]
    expect_error(send(strict.caller, body), 400, code, param=param)
    assert stored(usage, strict.project) == (0, 0, 0, 0)


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "multipart/mixed; boundary=bbb"])
def test_only_forms_are_taken(strict, kind):
    expect_error(send(strict.caller, form(PURPOSE, FILE), kind), 415, "unsupported_media_type")


def test_a_boundary_is_named_once(strict):
    for kind in ("multipart/form-data", "multipart/form-data; boundary=", 'multipart/form-data; boundary="a"b', f"multipart/form-data; boundary={'b' * 71}"):
        assert send(strict.caller, form(PURPOSE, FILE), kind).status_code in (400, 415)


def test_a_length_that_is_too_large_is_refused_before_it_is_read(strict, usage, stack):
    call = RawCall(stack.http_address)
    head = f"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {strict.key.key}\r\nContent-Type: multipart/form-data; boundary=bbb\r\nContent-Length: 600000000\r\n\r\n"
    call.send(head.encode() + form(PURPOSE, FILE)[:50])
    call.read_until(b"}}")
    assert call.status == 413 and b"file_too_large" in call.received
    call.close()
    assert stored(usage, strict.project) == (0, 0, 0, 0)


@pytest.mark.limit(300)
def test_500_mib_and_one_byte_are_too_large_and_memory_stays_flat(strict, desk, usage, stack, uploads_memory):
    """Sent in chunks, so that no length announces it."""
    for _ in range(20):
        upload(desk.caller)  # each gateway has its code in memory
    before = uploads_memory("VmRSS", reset=True)
    piece = os.urandom(1 << 20)

    def body():
        yield b'--bbb\r\nContent-Disposition: form-data; name=purpose\r\n\r\nuser_data\r\n--bbb\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\n'
        for _ in range(500):
            yield piece
        yield b"x\r\n--bbb--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=bbb"}
    expect_error(strict.caller.call("POST", "/v1/files", content=body(), headers=headers, timeout=280), 413, "file_too_large", param="file")
    after = uploads_memory("VmHWM")
    # 03 §4 asks for 64 MiB. Two frames and a half are 10; `make bench-files` measures 11.9 of the 12 wanted, too near to hold any machine to.
    assert max(after[name] - before[name] for name in before) < 16 << 20
    assert stored(usage, strict.project) == (0, 0, 0, 0)


@pytest.fixture
def uploads_memory(stack):
    """What each gateway for uploads holds (VmRSS) or has held at most since the last reset (VmHWM), in bytes."""
    from harness.processes import Processes

    programs = Processes(stack).programs

    def held(field: str, reset: bool = False) -> dict:
        found = {}
        for name, pid in programs.items():
            if name.startswith("uploads-"):
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                found[name] = next(int(line.split()[1]) << 10 for line in lines if line.startswith(field))
                if reset:
                    Path(f"/proc/{pid}/clear_refs").write_text("5")  # see proc_pid_clear_refs(5)
        return found

    return held


def test_a_client_that_leaves_in_the_middle_leaves_nothing(strict, usage, stack):
    whole = form(PURPOSE, ("name=file; filename=a", os.urandom(FRAME + 100_000)))
    for sent in (100, 70_000, FRAME + 70_000):
        call = RawCall(stack.http_address)
        head = f"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {strict.key.key}\r\nContent-Type: multipart/form-data; boundary=bbb\r\nContent-Length: {len(whole)}\r\n\r\n"
        call.send(head.encode() + whole[:sent])
        call.close()
    eventually(lambda: stored(usage, strict.project) == (0, 0, 0, 0), seconds=60)


def test_a_body_shorter_than_announced_is_no_file(strict, usage, stack):
    body = form(PURPOSE, FILE)
    call = RawCall(stack.http_address)
    head = f"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {strict.key.key}\r\nContent-Type: multipart/form-data; boundary=bbb\r\nContent-Length: {len(body) + 10}\r\n\r\n"
    call.send(head.encode() + body)
    call.socket.shutdown(1)
    call.read_to_end()
    assert b'"object":"file"' not in call.received
    eventually(lambda: stored(usage, strict.project) == (0, 0, 0, 0), seconds=60)


# Quota


def test_over_the_quota_nothing_is_stored(make_tenant, usage, stack):
    tenant = make_tenant(slug="small")
    upload(tenant.caller, b"x" * 1000)
    usage.query("UPDATE storage_usage SET limit_bytes = 3000 WHERE project_id = %s RETURNING 1", tenant.project.id)
    before = stored(usage, tenant.project)
    expect_error(upload(tenant.caller, b"y" * 3000), 429, "quota_exceeded")
    assert stored(usage, tenant.project) == before == (1000, 0, 1, 1)
    management = Caller(stack.origin, tenant.project.key("management").key)
    for caller in (tenant.caller, management):
        assert caller.get("/v1/storage").json() == {"bytes_used": 1000, "bytes_limit": 3000, "by_kind": {"file": 1000}}
    # What is deleted makes room at once.
    tenant.caller.call("DELETE", f"/v1/files/{tenant.caller.get('/v1/files').json()['data'][0]['id']}")
    assert tenant.caller.get("/v1/storage").json() == {"bytes_used": 0, "bytes_limit": 3000, "by_kind": {}}
    assert upload(tenant.caller, b"z" * 2000).status_code == 200


def test_parallel_uploads_share_the_quota(make_tenant, usage):
    tenant = make_tenant(slug="shared")
    upload(tenant.caller, b"x")
    usage.query("UPDATE storage_usage SET limit_bytes = 20000 WHERE project_id = %s RETURNING 1", tenant.project.id)
    answers = together(6, lambda number: upload(tenant.caller, b"y" * 8000, headers={"Connection": "close"}).status_code)
    assert sorted(set(answers)) == [200, 429] and answers.count(200) <= 2
    assert stored(usage, tenant.project)[:2] == (1 + 8000 * answers.count(200), 0)


# Idempotency


def test_an_upload_with_a_key_makes_one_file(desk, usage):
    header = {"Idempotency-Key": f"upload-{secrets.token_hex(8)}"}
    before = stored(usage, desk.project)
    first, second = (upload(desk.caller, b"once", headers=header) for _ in range(2))  # each with a boundary of its own
    assert first.status_code == second.status_code == 200 and first.content == second.content
    assert second.headers["idempotent-replayed"] == "true"
    after = stored(usage, desk.project)
    assert after == (before[0] + 4, 0, before[2] + 1, before[3] + 1)
    expect_error(upload(desk.caller, b"twice", headers=header), 409, "idempotency_conflict")
    expect_error(upload(desk.caller, b"once", name="b.txt", headers=header), 409, "idempotency_conflict")
    assert stored(usage, desk.project) == after


def test_errors_keep_the_connection_usable(strict):
    with httpx.Client(base_url=str(strict.caller.client.base_url), headers={"Authorization": f"Bearer {strict.key.key}"}, timeout=60) as client:
        for _ in range(5):
            refused = client.post("/v1/files", files={"file": ("a", b"x" * 300_000)}, data={"purpose": "fun"})
            assert refused.status_code == 400
            assert client.get("/v1/files").status_code == 200


def test_json_of_a_file_names_nothing_else(desk):
    made = upload(desk.caller).json()
    assert set(made) == {"id", "object", "bytes", "created_at", "filename", "purpose", "status", "x_sha256"}
    assert json.loads(desk.caller.get(f"/v1/files/{made['id']}").content) == made
