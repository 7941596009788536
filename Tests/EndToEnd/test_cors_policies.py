"""The routes that set and show a policy (spec 08 §3)."""

import pytest

from harness.calls import Caller, expect_error
from harness.cors import put_policy, shown
from harness.tenants import Project, unique

STANDARD = {"allow_origins": ["*"], "allow_methods": ["GET", "POST", "OPTIONS"], "allow_headers": ["Content-Type", "Authorization"], "max_age": 86400, "allow_credentials": False}


@pytest.fixture
def manager(stack, engines):
    """A caller of scope management, with an endpoint of its own as `endpoint`."""
    project = Project.create("cors", credit=None)
    caller = Caller(stack.origin, project.key("management").key)
    caller.project, caller.endpoint = project, project.endpoint(engines[0].url)
    caller.upstream = engines[0].url
    caller.path = f"/v1/endpoints/{caller.endpoint.slug}/cors"
    return caller


def test_an_endpoint_has_the_default_until_one_is_set(manager):
    for name in (manager.endpoint.id, manager.endpoint.slug):
        for root in ("/v1", f"/{manager.project.slug}/v1"):
            answer = manager.get(f"{root}/endpoints/{name}/cors")
            assert shown(answer) == STANDARD and answer.headers["etag"] == '"1"'


def test_a_put_replaces_all_of_it(manager):
    first = put_policy(manager, manager.endpoint.id, {"allowed_origins": ["https://App.example:443", "http://localhost:3000"], "allow_methods": ["GET"], "max_age_seconds": 5})
    expected = {"allow_origins": ["https://app.example", "http://localhost:3000"], "allow_methods": ["GET"], "allow_headers": ["Content-Type", "Authorization"], "max_age": 5, "allow_credentials": True}
    assert shown(first) == shown(manager.get(manager.path)) == expected
    assert first.headers["etag"] == '"2"'
    # What was shown can be sent back.
    again = put_policy(manager, manager.endpoint.id, expected)
    assert shown(again) == expected and again.headers["etag"] == '"3"'
    assert shown(put_policy(manager, manager.endpoint.id, {})) == STANDARD


def test_a_stale_if_match_is_412_and_changes_nothing(manager):
    tag = manager.get(manager.path).headers["etag"]
    policy = {"allow_origins": ["https://a.example"]}
    assert put_policy(manager, manager.endpoint.slug, policy, headers={"If-Match": tag}).status_code == 200
    for stale in (tag, '"x"', 'W/"2"'):
        expect_error(put_policy(manager, manager.endpoint.slug, {}, headers={"If-Match": stale}), 412, "version_conflict")
    for nonsense in ("2", "soon", '"2", 3'):
        expect_error(put_policy(manager, manager.endpoint.slug, {}, headers={"If-Match": nonsense}), 400, "invalid_value", param="If-Match")
    assert shown(manager.get(manager.path))["allow_origins"] == ["https://a.example"]
    for good in ('"2"', '"1", "3"', "*"):
        assert put_policy(manager, manager.endpoint.slug, policy, headers={"If-Match": good}).status_code == 200


def test_every_put_leaves_one_line_in_the_audit_log(manager):
    answer = put_policy(manager, manager.endpoint.slug, {"allow_origins": ["https://a.example"]})
    expect_error(put_policy(manager, manager.endpoint.slug, {"max_age": -1}), 400, "invalid_value")
    lines = [line for line in manager.get("/v1/management/project/audit").json()["data"] if line["action"] == "endpoint.cors"]
    assert len(lines) == 1
    line = lines[0]
    assert (line["target_type"], line["target_id"], line["request_id"]) == ("endpoint", manager.endpoint.id, answer.headers["x-request-id"])
    assert line["before"] == STANDARD and line["after"]["allow_origins"] == ["https://a.example"]


@pytest.mark.parametrize("policy,code,param", [
    ({"allow_credentials": True}, "invalid_cors_policy", "allow_credentials"),
    ({"allow_origins": ["*"], "allow_credentials": True}, "invalid_cors_policy", "allow_credentials"),
    ({"allow_origins": ["https://a.example", "null"]}, "invalid_cors_policy", "allow_origins[1]"),
    ({"allow_origins": ["https://a.example"], "allow_headers": ["*"]}, "invalid_cors_policy", "allow_headers"),
    ({"allow_origins": [f"https://a{number}.example" for number in range(101)]}, "invalid_value", "allow_origins"),
    ({"allow_origins": ["https://a.example\r\nSet-Cookie: x=1"]}, "invalid_value", "allow_origins[0]"),
    ({"allow_origins": ["https://a.example\nX: y"]}, "invalid_value", "allow_origins[0]"),
    ({"allow_origins": ["https://a.example, https://b.example"]}, "invalid_value", "allow_origins[0]"),
    ({"allow_origins": ["https://*.com"]}, "invalid_value", "allow_origins[0]"),
    ({"allow_origins": ["https://a.example/path"]}, "invalid_value", "allow_origins[0]"),
    ({"allow_origins": "*"}, "invalid_value", "allow_origins"),
    ({"allow_methods": ["GET\r\nX: y"]}, "invalid_value", "allow_methods[0]"),
    ({"allow_methods": ["CONNECT"]}, "invalid_value", "allow_methods[0]"),
    ({"allow_methods": []}, "invalid_value", "allow_methods"),
    ({"allow_headers": ["X-A\r\nX-B: c"]}, "invalid_value", "allow_headers[0]"),
    ({"allow_headers": ["X A"]}, "invalid_value", "allow_headers[0]"),
    ({"allow_headers": [f"X-{number}" for number in range(51)]}, "invalid_value", "allow_headers"),
    ({"max_age": 86401}, "invalid_value", "max_age"), ({"max_age_seconds": -1}, "invalid_value", "max_age_seconds"),
    ({"allow_credentials": "yes"}, "invalid_value", "allow_credentials"), ({"allow_origin": ["*"]}, "unsupported_parameter", "allow_origin"),
], ids=repr)  # fmt: skip
def test_a_bad_policy_names_its_field_and_changes_nothing(manager, policy, code, param):
    answer = put_policy(manager, manager.endpoint.slug, policy)
    error = expect_error(answer, 400, code)
    assert error["param"] == param
    after = manager.get(manager.path)
    assert shown(after) == STANDARD and after.headers["etag"] == '"1"'


@pytest.mark.parametrize("body", ["null", "[]", "{", '{"max_age": 1, "max_age": 2}', ""])
def test_what_is_no_object_is_400(manager, body):
    answer = manager.call("PUT", manager.path, content=body.encode(), headers={"Content-Type": "application/json"})
    expect_error(answer, 400, "invalid_request", "json_parse_error")


def test_another_projects_endpoint_is_not_found(manager, tenant):
    for name in (tenant.endpoint.id, tenant.endpoint.slug, "nothing", "ep_" + "0" * 24, unique("ep")):
        expect_error(manager.get(f"/v1/endpoints/{name}/cors"), 404, "endpoint_not_found")
        expect_error(put_policy(manager, name, {}), 404, "endpoint_not_found")


def test_a_key_of_another_scope_is_refused(stack, manager):
    """Keys that use an endpoint may see its policy; keys that manage it may change it."""
    for scope in ("inference", "execution"):
        caller = Caller(stack.origin, manager.project.key(scope).key)
        expect_error(put_policy(caller, manager.endpoint.slug, {}), 403, "scope_insufficient")
        answer = caller.get(manager.path)
        shown(answer) if scope == "inference" else expect_error(answer, 403, "scope_insufficient")
    pinned = Caller(stack.origin, manager.project.key("management", endpoint=manager.project.endpoint(manager.upstream).slug).key)
    for name in (manager.endpoint.slug, manager.endpoint.id):
        expect_error(put_policy(pinned, name, {}), 403, "endpoint_mismatch")
        expect_error(pinned.get(f"/v1/endpoints/{name}/cors"), 403, "endpoint_mismatch")
    expect_error(manager.get(manager.path, key=None), 401, "authentication_error")
