"""What cannot be set on an endpoint, and who cannot set it: a clear refusal, and nothing changed (spec 07 §6)."""

import pytest

from harness.calls import Caller, expect_error
from harness.tenants import Project
from harness.together import eventually
from test_endpoints import ENDPOINTS, Owner, body, rows


@pytest.fixture(scope="module")
def owner(stack) -> Owner:
    return Owner(stack, Project.create("epbad"))


@pytest.fixture(scope="module")
def there(owner, engines) -> dict:
    return owner.active(engines[0], slug="there")


@pytest.fixture(autouse=True)
def nothing_changes(owner, there, usage):
    before = rows(usage, owner.project)
    yield
    assert rows(usage, owner.project) == before


RESERVED = (
    "v1 api auth admin agents artifact-frame assets batches billing chat completions conversations dashboard dl docs endpoints exports files gdpr graph "
    "healthz join metrics models ops projects readyz responses settings slos static status usage workspaces"
).split()


@pytest.mark.parametrize("slug", [*RESERVED, "", "-a", "a-", "A", "a_b", "a.b", "a/b", "ä", " a", "a\n", "..", "x" * 49, 7, None, ["a"]], ids=str)
def test_a_slug_that_is_none_is_refused(owner, engine, slug):
    expect_error(owner.post(ENDPOINTS, body(engine, slug=slug)), 400, "invalid_value", "missing_required_parameter", param="slug")


def test_a_slug_that_is_taken_is_refused(owner, engine):
    expect_error(owner.post(ENDPOINTS, body(engine, slug="there")), 409, "slug_taken", param="slug")


def test_a_slug_never_changes(owner, engine):
    expect_error(owner.patch("there", {"slug": "elsewhere"}), 400, "invalid_value", param="slug")
    expect_error(owner.send("PUT", f"{ENDPOINTS}/there", body(engine, slug="elsewhere")), 400, "invalid_value", param="slug")


# The whole list of 02 §9: schemes, ports, ranges, notations.
FORBIDDEN_URLS = [
    "http://models.example.com/v1", "ftp://models.example.com", "file:///etc/passwd", "gopher://models.example.com", "//models.example.com", "models.example.com", "",
    "https://", "https://user:pw@models.example.com/v1", "https://models.example.com:9443/v1", "https://models.example.com:99999/", "https://a b/v1", "https://a/\r\nX: y",
    "https://models.example.com/v1?a=b", "https://models.example.com/v1#x", "https://" + "a." * 130 + "example/",
    "https://127.0.0.1/v1", "https://127.1/v1", "https://2130706433/v1", "https://0x7f.1/v1", "https://0177.0.0.1/v1", "https://0x7f000001/", "https://１２７.0.0.1/v1",
    "https://localhost/v1", "https://localhost./v1", "https://a.localhost/v1", "https://0.0.0.0/", "https://10.1.2.3/v1", "https://100.64.0.1/", "https://169.254.169.254/latest",
    "https://172.16.0.1/", "https://192.0.0.1/", "https://192.0.2.1/", "https://192.88.99.1/", "https://192.168.1.1/", "https://198.18.0.1/", "https://198.51.100.1/",
    "https://203.0.113.1/", "https://224.0.0.1/", "https://240.0.0.1/", "https://255.255.255.255/", "https://[::]/", "https://[::1]/v1", "https://[fc00::1]/", "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/v1", "https://[ff02::1]/", "https://[2001:db8::1]/", "https://[100::1]/", "https://[::ffff:127.0.0.1]/v1", "https://[::ffff:10.0.0.1]/v1",
    "https://[64:ff9b::7f00:1]/", "https://[2002:7f00:1::]/", "https://[2001:0:7f00:1::]/",
]


@pytest.mark.parametrize("url", FORBIDDEN_URLS)
def test_a_url_that_may_not_be_called_is_not_stored(owner, engine, url):
    for answer in (
        owner.post(ENDPOINTS, body(engine, tier="self_hosted", upstream={"url": url})),
        owner.patch("there", {"upstream": {"url": url}}),
        owner.send("PUT", f"{ENDPOINTS}/there", body(engine, slug="there", upstream={"url": url})),
    ):
        error = expect_error(answer, 400, "egress_blocked", "invalid_value", "missing_required_parameter", param="upstream.url")
        assert "127.0.0.1" not in error["message"]
    answer = owner.post(ENDPOINTS, body(engine, tier="self_hosted", upstream={"urls": [engine.url, url]}))
    expect_error(answer, 400, "egress_blocked", "invalid_value", param="upstream.urls[1]")


BAD = {
    "tier": [None, 7, "no-such", ""],
    "name": ["", " ", "x" * 129, "a\nb", 5],
    "description": ["x" * 513, "\x01", 5],
    "model": ["", "a b", "x" * 129, "naïve", 5, {}],
    "model_version": ["2", "", 7],
    "task_mode": ["sing", "", 7],
    "visibility": ["public", True],
    "prefix_cache": ["yes", 1],
    "context_length": [0, -1, 1.5, "4096", 10**12],
    "metadata": [{"a": 1}, {"x" * 65: "a"}, {"a": "x" * 513}, {f"k{number}": "v" for number in range(17)}, []],
    "aliases": ["a", [""], ["a b"], ["a", "a"], ["x" * 129], [7], [f"a{number}" for number in range(17)]],
    "limits": [[], "x", {"max_tokens": 0}, {"max_tokens": "7"}, {"max_tokens": -1}, {"max_concurrent": 4097}, {"request_timeout_seconds": 301}, {"most": 1}],
    "defaults": [
        [], {"temperature": 2.1}, {"temperature": -0.1}, {"temperature": "hot"}, {"top_p": 1.1}, {"system_prompt": 7}, {"system_prompt": "x" * 32769},
        {"service_tier": "batch"}, {"reasoning_effort": "huge"}, {"seed": 1},
    ],
    "retention": [[], {"days": 0}, {"days": 3651}, {"store": "no"}, {"for": 1}],
    # An agent of nobody's.
    "placement": [{"agents": ["agt_0123456789abcdefghijklmn"]}, {"regions": ["a b"]}, {"allow_shared_fallback": 1}, {"zone": 1}, []],
    # Not there yet: refused rather than ignored.
    "tools": [{"server_tools": ["x_calculator"]}, {"mcp_servers": [{"url": "https://a"}]}, {"max_iterations": 51}, {"max_iterations": 5}, {"more": 1}],
    "memory": [{"mode": "read"}, {"mode": "always"}, {"workspace_id": "ws_0123456789abcdefghijklmn"}],
    "migrate": [True, "no"],
    "cors": [[], {"allow_origins": ["null"]}, {"allow_origins": ["a\r\nb"]}, {"allow_origin": ["*"]}],
    "quantization": [{"bits": 4}], "speculative": [{"draft": "x"}], "kv_cache": [{"dtype": "fp8"}],
    # Shown, never set.
    "status": ["inactive"], "generation": [7], "id": ["ep_0123456789abcdefghijklmn"], "base_url": ["https://a"], "price": [{}], "created_at": [1],
    # Unknown.
    "colour": ["red", None], "Slug": ["x"], "x_tools": [[]],
}


@pytest.mark.parametrize("field,value", [(field, value) for field, values in BAD.items() for value in values], ids=lambda value: str(value)[:30])
def test_a_field_that_is_wrong_unknown_or_not_there_yet_is_refused_by_name(owner, engine, field, value):
    codes = ("invalid_value", "missing_required_parameter", "unsupported_parameter", "unsupported_value", "invalid_metadata", "invalid_version", "invalid_cors_policy")
    expect_error(owner.post(ENDPOINTS, body(engine, **{field: value})), 400, *codes, param=field)
    expect_error(owner.patch("there", {field: value}), 400, *codes, param=field)


UPSTREAMS = {
    "url": [7, None], "urls": [[], "https://a", [7], ["https://a.example"] * 17], "model": ["", "x" * 257, 7], "api_key": ["", "a\nb", 7, "x" * 8193],
    "api": ["anthropic", 7], "timeout_ms": [0, 3_600_001, "5"], "health_path": ["models", "/a b", "/a\r\nX: y", "/" + "x" * 512, 7],
    "max_concurrent": [0, 1_000_001], "engine": ["tgi", "", 7], "engine_detected": ["vllm"], "password": ["x"],
    "headers": [
        [], {"a b": "c"}, {"X": 7}, {"X": "a\r\nY: b"}, {"": "x"}, {"Host": "evil"}, {"content-length": "5"}, {"Transfer-Encoding": "chunked"}, {"Connection": "x"},
        {"Upgrade": "h2"}, {"Proxy-Authorization": "x"}, {"X-Forwarded-For": "1.2.3.4"}, {"Cookie": "a=b"}, {"Authorization": "Bearer x"}, {"X-A": "1", "x-a": "2"},
        {f"X-{number}": "v" for number in range(33)},
    ],
}


@pytest.mark.parametrize("member,value", [(member, value) for member, values in UPSTREAMS.items() for value in values], ids=lambda value: str(value)[:30])
def test_a_bad_upstream_is_refused_by_name(owner, engine, member, value):
    upstream = {} if member in ("url", "urls") else {"url": engine.url}
    answer = owner.post(ENDPOINTS, body(engine, tier="self_hosted", upstream={**upstream, member: value}))
    expect_error(answer, 400, "invalid_value", "unsupported_parameter", "missing_required_parameter", "egress_blocked", param="upstream.url" if member == "url" else f"upstream.{member}")


def test_an_upstream_without_a_url_is_refused(owner, engine):
    # Without any upstream it is one for agents; see test_mesh.py.
    for value in ({}, {"model": "m"}):
        expect_error(owner.post(ENDPOINTS, body(engine, model="m", upstream=value)), 400, "missing_required_parameter", param="upstream.url")
    expect_error(owner.post(ENDPOINTS, body(engine, upstream={"url": engine.url, "urls": [engine.url]})), 400, "unsupported_combination", param="upstream.urls")
    expect_error(owner.post(ENDPOINTS, body(engine, model="mdl_0123456789abcdefghijklmn")), 404, "model_not_found", param="model")


@pytest.mark.parametrize("limit", ["requests_per_minute", "tokens_per_minute", "max_concurrent", "request_timeout_seconds"])
def test_a_limit_above_the_tiers_is_refused(owner, engine, usage, limit):
    column = {"max_concurrent": "concurrent", "request_timeout_seconds": "request_timeout_s"}.get(limit, limit)
    most = usage.query(f"SELECT {column} AS most FROM service_tiers WHERE slug = 'gpu_nvidia_shared'")[0]["most"]
    values = {"tier": "gpu_nvidia_shared", "limits": {limit: most + 1}}
    error = expect_error(owner.post(ENDPOINTS, body(engine, **values)), 400, "invalid_value", param=f"limits.{limit}")
    assert str(most) in error["message"] and "gpu_nvidia_shared" in error["message"]
    expect_error(owner.patch("there", values), 400, "invalid_value", param=f"limits.{limit}")


def test_a_server_that_the_operator_has_not_listed_serves_only_the_tenants_own_tier(owner, engine):
    upstream = {"url": "https://models.example.com/v1"}
    expect_error(owner.post(ENDPOINTS, body(engine, upstream=upstream)), 403, "tier_not_allowed", param="tier")
    expect_error(owner.patch("there", {"upstream": upstream}), 403, "tier_not_allowed", param="tier")


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"7", b"{", b'{"slug":"a","slug":"b"}', b'{"slug":"\xff"}', b'{"a":' * 100 + b"1" + b"}" * 100])
def test_a_body_that_is_no_object_is_refused(owner, content):
    for method, path in (("POST", ENDPOINTS), ("PATCH", f"{ENDPOINTS}/there"), ("PUT", f"{ENDPOINTS}/there")):
        answer = owner.call(method, path, content=content, headers={"Content-Type": "application/json"})
        expect_error(answer, 400, "json_parse_error", "invalid_request", "json_too_deep")


def test_another_projects_endpoint_is_not_found(stack, owner, there, other_project):
    stranger = Owner(stack, other_project)
    for name in (there["id"], there["slug"], "ep_0123456789abcdefghijklmn", "ep_short", "no-such", "%2e%2e"):
        for method, tail, value in (
            ("GET", "", None), ("PATCH", "", {"description": "x"}), ("PUT", "", {"tier": "demo", "upstream": {"url": "https://a.example"}}), ("DELETE", "", None),
            ("POST", "/activate", {}), ("POST", "/deactivate", {}), ("POST", "/restart", {}),
        ):
            answer = stranger.call(method, f"{ENDPOINTS}/{name}{tail}") if value is None else stranger.send(method, f"{ENDPOINTS}/{name}{tail}", value)
            expect_error(answer, 404, "endpoint_not_found")
    expect_error(stranger.get(ENDPOINTS, params={"after": there["id"]}), 400, "invalid_cursor", param="after")


def test_keys_need_the_scope_and_pinned_ones_have_one_endpoint(stack, owner, engine, there):
    path = f"{ENDPOINTS}/there"
    reader = Caller(stack.origin, owner.project.key("inference").key)
    for method, target, value in (("POST", ENDPOINTS, body(engine)), ("PATCH", path, {"description": "x"}), ("DELETE", path, {}), ("POST", f"{path}/restart", {})):
        expect_error(reader.send(method, target, value), 403, "scope_insufficient")
    expect_error(owner.get(path, key=owner.project.key("management").key), 403, "scope_insufficient")
    # Where the upstream is, is not for keys that applications hold.
    shown = reader.get(path).json()["upstream"]
    assert shown["urls"] is None and shown["headers"] is None and shown["health_path"] is None and engine.address not in reader.get(ENDPOINTS).text
    pinned = Caller(stack.origin, owner.project.key("inference,management", endpoint="there").key)
    assert [each["slug"] for each in pinned.get(ENDPOINTS).json()["data"]] == ["there"]
    expect_error(pinned.post(ENDPOINTS, body(engine)), 403, "endpoint_mismatch", param="slug")


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_members_and_viewers_write_no_endpoints(stack, engine, usage, role):
    """A key acts for the user who made it; this one lost their part."""
    project = Project.create("eproles", credit=None)
    user = project.member("admin")
    caller = Caller(stack.origin, project.key("inference,management", created_by=user.email).key)
    project.set_role(user, role)
    before = rows(usage, project)
    expect_error(caller.post(ENDPOINTS, body(engine)), 403, "permission_denied")
    assert caller.get(ENDPOINTS).json()["data"] == []
    assert rows(usage, project) == before


def test_an_embed_endpoint_takes_no_chat(owner, there, usage):
    usage.query("UPDATE endpoints SET task_mode = 'embed' WHERE id = %s RETURNING 1", there["id"])
    try:
        answer = eventually(lambda: (got := owner.chat("there")).status_code != 200 and got)
        expect_error(answer, 400, "task_mode_mismatch", param="model")
    finally:
        usage.query("UPDATE endpoints SET task_mode = 'generate' WHERE id = %s RETURNING 1", there["id"])


def test_the_free_tier_has_two_endpoints_and_a_project_a_hundred(stack, engine):
    free = Owner(stack, Project.create("epfree", credit=None))
    for _ in range(2):
        free.create(engine, tier="free")
    error = expect_error(free.post(ENDPOINTS, body(engine, tier="free")), 429, "quota_exceeded")
    assert "2 endpoints of the tier 'free'" in error["message"]
    other = free.create(engine, tier="self_hosted")
    expect_error(free.patch(other["slug"], {"tier": "free"}), 429, "quota_exceeded")
    for _ in range(97):
        free.create(engine, tier="self_hosted")
    error = expect_error(free.post(ENDPOINTS, body(engine, tier="demo")), 429, "quota_exceeded")
    assert "100 endpoints in a project" in error["message"]
    free.call("DELETE", f"{ENDPOINTS}/{other['slug']}")
    free.create(engine, tier="demo")
