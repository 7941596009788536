"""Pages of other origins (spec 08 §3): preflights, streams, errors of the gateway and of nginx."""

import json
import subprocess
import time

import pytest

from harness.calls import Caller, expect_error
from harness.cors import ALLOW, FIVE, cors_headers, preflight, readable_by, readable_by_none, set_policy
from harness.raw import RawCall
from harness.together import eventually

PAGE = "https://app.example"
OTHER = "https://evil.example"


@pytest.fixture(scope="module")
def open_to_page(stack, make_tenant):
    """A tenant whose endpoint is open to one page; `path` is where that may call, `manager` a caller of scope management."""
    tenant = make_tenant()
    tenant.manager = Caller(stack.origin, tenant.project.key("management").key)
    tenant.root = f"/{tenant.project.slug}/{tenant.endpoint.slug}/v1"
    tenant.path = tenant.root + "/chat/completions"
    set_policy(tenant.manager, tenant.endpoint.slug, {"allow_origins": [PAGE, "https://*.example.org"], "max_age": 600})
    return tenant


@pytest.fixture(scope="module")
def standard(make_tenant):
    """A tenant whose endpoint has the policy that nobody set."""
    tenant = make_tenant()
    tenant.path = f"/{tenant.project.slug}/{tenant.endpoint.slug}/v1/chat/completions"
    return tenant


def test_a_preflight_of_an_allowed_page_is_204_with_the_five_headers(open_to_page):
    answer = preflight(open_to_page.caller, open_to_page.path, PAGE)
    assert answer.status_code == 204 and answer.content == b"" and "content-length" not in answer.headers
    assert cors_headers(answer) == {
        ALLOW + "origin": PAGE, ALLOW + "methods": "GET, POST, OPTIONS", ALLOW + "headers": "Content-Type, Authorization", ALLOW + "credentials": "true",
        "access-control-max-age": "600",
    }


def test_curl_with_an_origin_alone_gets_them_too(stack, open_to_page):
    url = stack.https_url.removesuffix("/v1") + open_to_page.path
    for origin, status in ((PAGE, "204"), (OTHER, "403")):
        command = ["curl", "-sS", "--cacert", stack.ca_file, "-X", "OPTIONS", "-H", f"Origin: {origin}", "-D", "-", "-o", "/dev/null", url]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        assert lines[0].split()[1] == status
        names = [line.split(":")[0].lower() for line in lines[1:] if line.lower().startswith("access-control-")]
        assert sorted(names) == (sorted(FIVE) if status == "204" else [])


@pytest.mark.parametrize("origin", [OTHER, "null", "https://app.example:8443", "http://app.example", "https://a.app.example", "https://a.b.example.org", "https://example.org", PAGE + "/", ""], ids=repr)
def test_a_preflight_of_any_other_origin_is_403_without_them(open_to_page, origin):
    answer = preflight(open_to_page.caller, open_to_page.path, origin)
    if origin:
        expect_error(answer, 403, "origin_not_allowed")
    else:
        expect_error(answer, 405, "method_not_allowed")
    readable_by_none(answer)


@pytest.mark.parametrize("method,headers", [("DELETE", None), ("post", None), ("POST", "authorization,x-mine"), ("POST", "x-stainless-os")])
def test_a_preflight_for_what_the_policy_does_not_list_is_403(open_to_page, method, headers):
    answer = preflight(open_to_page.caller, open_to_page.path, PAGE, method, headers)
    expect_error(answer, 403, "origin_not_allowed")
    readable_by_none(answer)


def test_the_wildcard_stands_for_one_label(open_to_page):
    page = "https://a.example.org"
    assert cors_headers(preflight(open_to_page.caller, open_to_page.path, page))[ALLOW + "origin"] == page


def test_without_a_policy_every_page_may_ask_but_sends_no_credentials(standard):
    answer = preflight(standard.caller, standard.path, OTHER)
    assert answer.status_code == 204
    found = cors_headers(answer)
    assert set(found) == FIVE and found[ALLOW + "origin"] == "*" and found[ALLOW + "credentials"] == "false"
    assert found["access-control-max-age"] == "86400"


def test_a_star_for_headers_covers_authorization_too(stack, make_tenant):
    """Browsers do not count it under the star."""
    tenant = make_tenant()
    set_policy(Caller(stack.origin, tenant.project.key("management").key), tenant.endpoint.slug, {"allow_headers": ["*"]})
    answer = preflight(tenant.caller, f"/{tenant.project.slug}/{tenant.endpoint.slug}/v1/models", OTHER, "GET", "authorization,x-stainless-os")
    assert answer.status_code == 204 and answer.headers[ALLOW + "headers"] == "*, Authorization"


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_may_be_read_by_an_allowed_page_and_by_no_other(open_to_page, engine, stream):
    for origin in (PAGE, OTHER, None):
        headers = {"Origin": origin} if origin else {}
        if stream:
            answer = open_to_page.stream(script={"text": "a b c"}, path=open_to_page.path, headers=headers)
            assert answer.raw.endswith(b"data: [DONE]\n\n")
        else:
            answer = open_to_page.chat(script={"text": "a"}, path=open_to_page.path, headers=headers)
            assert answer.status_code == 200
        readable_by(PAGE, answer) if origin == PAGE else readable_by_none(answer)


def test_errors_may_be_read_as_well(open_to_page, engine):
    page = {"Origin": PAGE}
    call = open_to_page.caller
    answers = {
        400: open_to_page.chat(path=open_to_page.path, headers=page, temperature=9),
        401: call.post(open_to_page.path, open_to_page.body("hi"), key="xero_no_" + "x" * 43, headers=page),
        404: call.get(open_to_page.root + "/nothing", headers=page),
        405: call.get(open_to_page.path, headers=page),
        415: call.call("POST", open_to_page.path, content=b"x", headers={**page, "Content-Type": "text/plain"}),
        429: open_to_page.chat(path=open_to_page.path, headers=page, script={"status": 429}),
        502: open_to_page.chat(path=open_to_page.path, headers=page, script={"status": 401}),
    }
    for status, answer in answers.items():
        assert answer.status_code == status, answer.text
        readable_by(PAGE, answer)
    without_key = call.post(open_to_page.path, open_to_page.body("hi"), key=None, headers=page)
    expect_error(without_key, 401, "authentication_error")
    readable_by(PAGE, without_key)


def test_a_429_of_the_keys_quota_may_be_read(open_to_page, engine):
    tenant = open_to_page.using(key=open_to_page.project.key())
    limited = open_to_page.manager.send("POST", "/v1/management/api-keys", {"name": "q", "scopes": ["inference"], "endpoint": tenant.endpoint.slug, "quota": {"requests": 1, "window_seconds": 60}}).json()["key"]
    answers = [tenant.caller.post(open_to_page.path, tenant.body("hi", max_tokens=1), key=limited, headers={"Origin": PAGE}) for _ in range(2)]
    expect_error(answers[1], 429, "quota_exceeded")
    for answer in answers:
        readable_by(PAGE, answer)


def test_nginx_s_own_413_may_be_read(stack, open_to_page):
    """Announced, in chunks, and over HTTP/2; each time nginx refuses the body, and no gateway sees it."""
    call = RawCall(stack.http_address)
    call.post(open_to_page.path, b"{", open_to_page.key.key, 21 << 20, f"Origin: {PAGE}\r\n").read_until(b"}}")
    assert call.status == 413 and b'"request_too_large"' in call.received
    assert call.received.lower().count(b"\r\naccess-control-allow-origin:") == 1 and call.header("access-control-allow-origin") == PAGE
    call.close()

    pieces = (b" " * (1 << 20) for _ in range(22))
    answer = open_to_page.caller.call("POST", open_to_page.path, content=pieces, headers={"Content-Type": "application/json", "Origin": PAGE})
    expect_error(answer, 413, "request_too_large")
    readable_by(PAGE, answer)

    url = stack.https_url.removesuffix("/v1") + open_to_page.path
    command = ["curl", "-sS", "--http2", "--cacert", stack.ca_file, "-H", "Content-Type: application/json", "-H", f"Origin: {PAGE}", "-H", f"Content-Length: {22 << 20}", "--data-binary", "{", "-D", "/dev/stderr", url]
    # nginx ends the stream right behind its answer, and curl now and then sees the end alone.
    runs = (subprocess.run(command, capture_output=True) for _ in range(50))
    done = next(run for run in runs if run.stdout)
    assert json.loads(done.stdout)["error"]["code"] == "request_too_large"
    assert done.stderr.decode().lower().count(f"access-control-allow-origin: {PAGE}") == 1


def test_nginx_s_other_errors_may_be_read(open_to_page):
    page = {"Origin": PAGE}
    too_large = open_to_page.caller.get(open_to_page.root + "/models", headers={**page, **{f"X-H{number}": "x" * 1000 for number in range(34)}})
    expect_error(too_large, 431, "request_too_large")
    readable_by(PAGE, too_large)
    other = open_to_page.caller.get(open_to_page.root + "/models", headers={"Origin": OTHER, **{f"X-H{number}": "x" * 1000 for number in range(34)}})
    expect_error(other, 431, "request_too_large")
    readable_by_none(other)


@pytest.mark.parametrize("family", ["/v1", "/{project}/v1", ""])
def test_project_and_host_routes_are_closed_to_all_pages(standard, engine, family):
    root = family.format(project=standard.project.slug)
    for method, path in (("POST", "/chat/completions"), ("GET", "/models"), ("GET", "/management/whoami"), ("PUT", "/endpoints/x/cors"), ("GET", "/healthz")):
        answer = preflight(standard.caller, root + path, PAGE, method)
        expect_error(answer, 403, "origin_not_allowed")
        readable_by_none(answer)
    served = standard.caller.get("/v1/models", headers={"Origin": PAGE})
    assert served.status_code == 200
    readable_by_none(served)
    readable_by_none(standard.chat(script={"text": "a"}, path=f"/{standard.project.slug}/v1/chat/completions", headers={"Origin": PAGE}))


@pytest.mark.parametrize("path", ["/{other}/{endpoint}/v1/models", "/{project}/nothing/v1/models", "/nothing/{endpoint}/v1/models", "/{project}/{endpoint}/v2/models"])
def test_what_does_not_exist_and_what_is_another_projects_look_alike(standard, other_project, path):
    path = path.format(project=standard.project.slug, endpoint=standard.endpoint.slug, other=other_project.slug)
    answer = preflight(standard.caller, path, PAGE, "GET")
    expect_error(answer, 403, "origin_not_allowed")
    readable_by_none(answer)


def test_the_project_may_be_named_by_its_id(open_to_page):
    path = open_to_page.path.replace(open_to_page.project.slug, open_to_page.project.id)
    assert preflight(open_to_page.caller, path, PAGE).status_code == 204


def test_preflights_are_asked_once_in_two_seconds_for_all_paths_of_an_endpoint(open_to_page):
    """nginx remembers the answer; so both have one request id, which finds one line in the log."""
    time.sleep(2.1)
    asked = [preflight(open_to_page.caller, open_to_page.root + path, PAGE) for path in ("/chat/completions", "/models?x=1", "/embeddings")]
    assert len({answer.headers["x-request-id"] for answer in asked}) == 1
    others = [preflight(open_to_page.caller, open_to_page.path, *different) for different in ((OTHER,), (PAGE, "GET"), (PAGE, "POST", "authorization"))]
    assert len({answer.headers["x-request-id"] for answer in asked[:1] + others}) == 4
    time.sleep(2.1)
    assert preflight(open_to_page.caller, open_to_page.path, PAGE).headers["x-request-id"] != asked[0].headers["x-request-id"]


def test_a_new_policy_acts_within_four_seconds_on_every_gateway(open_to_page, engine):
    """Calls and preflights are spread over all processes; none tells the old policy after that."""
    new = "https://new.example"

    def decisions(origin):
        calls = [open_to_page.chat(script={"text": "a"}, path=open_to_page.path, headers={"Origin": origin}) for _ in range(4)]
        calls += [open_to_page.caller.get(open_to_page.root + "/models", headers={"Origin": origin}) for _ in range(4)]
        return [ALLOW + "origin" in cors_headers(answer) for answer in calls] + [preflight(open_to_page.caller, open_to_page.path, origin).status_code == 204]

    assert all(decisions(PAGE)) and not any(decisions(new))
    set_policy(open_to_page.manager, open_to_page.endpoint.id, {"allow_origins": [new]})
    started = time.monotonic()
    eventually(lambda: all(decisions(new)) and not any(decisions(PAGE)), seconds=4)
    while time.monotonic() < started + 5:
        assert all(decisions(new)) and not any(decisions(PAGE))
    set_policy(open_to_page.manager, open_to_page.endpoint.id, {"allow_origins": [PAGE, "https://*.example.org"], "max_age": 600})
    eventually(lambda: all(decisions(PAGE)), seconds=4)
