"""Paths, methods, content types, sizes (spec 01 §3, 04 §1 and §8)."""

import subprocess

import pytest

from harness.calls import expect_error
from harness.raw import RawCall

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nothing", "/v1/chat", "/v1/chat/completions/x/y/z", "/v1/../etc/passwd", "/v1/%00", "/v1/chat%2Fcompletionsx", "/a/b/c/v1/models", "/nothing-here", "/healthz/x", "//v1/models/x"])
def test_an_unknown_path_is_404_in_the_envelope(tenant, path):
    answer = tenant.caller.get(path)
    assert answer.status_code in (400, 404), answer.text
    assert answer.json()["error"]["code"] in ("not_found", "invalid_request", "project_not_found", "endpoint_not_found", "model_not_found")


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_a_wrong_method_is_405_and_says_which_are_allowed(tenant, engine, method):
    """GET and DELETE of chat/completions come with stored completions."""
    answer = tenant.caller.call(method, CHAT)
    expect_error(answer, 405, "method_not_allowed")
    assert "POST" in answer.headers["allow"]


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS"])
def test_a_wrong_method_on_models_is_405(tenant, method):
    answer = tenant.caller.call(method, "/v1/models")
    expect_error(answer, 405, "method_not_allowed")
    assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize("method", ["BREW", "TRACE", "CONNECT"])
def test_a_method_of_no_route_is_refused_in_the_envelope(stack, tenant, method):
    call = RawCall(stack.http_address)
    call.send(f"{method} {CHAT} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {tenant.key.key}\r\n\r\n".encode())
    call.read_to_end()
    assert call.status in (400, 405, 501), call.received


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx", "", "text/json"])
def test_another_content_type_is_415(tenant, engine, content_type):
    answer = tenant.caller.call("POST", CHAT, content=b'{"model":"talk","messages":[{"role":"user","content":"hi"}]}', headers={"Content-Type": content_type})
    expect_error(answer, 415, "unsupported_media_type")
    assert engine.records(answer.headers["x-request-id"]) == []


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8"])
def test_json_is_json_however_it_is_written(tenant, engine, content_type):
    answer = tenant.caller.call("POST", CHAT, content=b'{"model":"talk","messages":[{"role":"user","content":"hi"}]}', headers={"Content-Type": content_type})
    assert answer.status_code == 200


def test_a_body_of_21_mebibytes_is_refused_without_being_read(stack, tenant, engine):
    call = RawCall(stack.http_address)
    call.post(CHAT, b"{", tenant.key.key, 21 * 1024 * 1024).read_until(b"}}")
    assert call.status == 413
    assert b'"request_too_large"' in call.received
    call.close()


def test_a_body_just_under_20_mebibytes_is_read(tenant, engine):
    body = b'{"model":"talk","messages":[{"role":"user","content":"hi"}],"pad":"' + b"x" * (20 * 1024 * 1024 - 100) + b'"}'
    assert len(body) < 20 * 1024 * 1024
    answer = tenant.chat_raw(body)
    assert answer.status_code == 200, answer.text[:300]


def test_a_chunked_body_over_the_limit_is_refused(tenant, engine):
    def pieces():
        for _ in range(22):
            yield b" " * 1024 * 1024

    answer = tenant.caller.call("POST", CHAT, content=pieces(), headers={"Content-Type": "application/json"})
    expect_error(answer, 413, "request_too_large")


def test_a_chunked_body_works(tenant, engine):
    pieces = (each for each in (b'{"model":"talk",', b'"messages":[{"role":"user","content":"hi"}]}'))
    assert tenant.caller.call("POST", CHAT, content=pieces, headers={"Content-Type": "application/json"}).status_code == 200


@pytest.mark.parametrize("headers", [{"X-Large": "x" * 17_000}, {f"X-H{number}": "x" * 1000 for number in range(34)}], ids=["one", "all"])
def test_headers_over_the_limit_are_431(tenant, headers):
    expect_error(tenant.caller.get("/v1/models", headers=headers), 431, "request_too_large")


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
@pytest.mark.parametrize("number,size", [(101, 1), (30, 1200)], ids=["too-many", "too-large"])
def test_small_headers_over_the_limit_together_are_431_in_every_version_of_http(stack, version, number, size):
    headers = [part for each in range(number) for part in ("-H", f"X-H{each}: {'e' * size}")]
    command = ["curl", "-sS", version, "--cacert", stack.ca_file, *headers, "-w", "%{http_code}", stack.https_url.removesuffix("/v1") + "/healthz"]
    answer = subprocess.run(command, capture_output=True, text=True).stdout
    assert answer.endswith("431") and '"request_too_large"' in answer


def test_a_request_line_over_the_limit_is_414(tenant):
    answer = tenant.caller.get("/v1/models?q=" + "x" * 40_000)
    assert answer.status_code in (414, 431)
    assert answer.json()["error"]["code"] == "request_too_large"


def test_garbage_instead_of_http_is_400(stack):
    call = RawCall(stack.http_address)
    call.send(b"\x16\x03\x01garbage\r\n\r\n").read_to_end()
    assert b" 400 " in call.received[:20] or call.received == b""


def test_http2_over_tls_works(stack, tenant):
    command = ["curl", "-sS", "--http2", "--cacert", stack.ca_file, "-H", f"Authorization: Bearer {tenant.key.key}", "-w", "%{http_version} %{http_code}", "-o", "/dev/null", stack.https_url + "/models"]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "2 200"


@pytest.mark.parametrize("version,works", [("1.1", False), ("1.2", True), ("1.3", True)])
def test_only_tls_1_2_and_1_3_are_spoken(stack, tenant, version, works):
    command = ["curl", "-sS", "--cacert", stack.ca_file, "--tls-max", version, f"--tlsv{version}", "--ciphers", "DEFAULT@SECLEVEL=0", "-o", "/dev/null", "-H", f"Authorization: Bearer {tenant.key.key}", stack.https_url + "/models"]
    assert (subprocess.run(command, capture_output=True).returncode == 0) == works


def test_health_needs_no_key(tenant):
    body = tenant.caller.get("/healthz", key=None, schema="none").json()
    assert body["status"] == "ok" and body["version"] and body["uptime_s"] >= 0
    assert tenant.caller.get("/readyz", key=None, schema="none").status_code == 200


@pytest.mark.parametrize("path", ["/metrics", "/v1/metrics", "/__records"])
def test_metrics_are_not_shown_to_clients(tenant, path):
    assert tenant.caller.get(path).status_code == 404


def test_a_head_request_has_no_body(stack, tenant):
    answer = tenant.caller.client.head("/v1/models", headers={"Authorization": f"Bearer {tenant.key.key}"})
    assert answer.status_code in (200, 405) and answer.content == b""
