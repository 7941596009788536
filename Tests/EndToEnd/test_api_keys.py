"""Management of API keys (spec 08 §2.3)."""

import secrets
import time

import pytest

from harness.calls import Caller, expect_error
from harness.together import eventually, together

KEYS = "/v1/management/api-keys"
WITHIN_S = 1.1


@pytest.fixture(scope="module")
def shop(make_tenant):
    """A project of its own, called with a key of scope management."""
    return make_tenant(slug="shop")


@pytest.fixture(scope="module")
def admin(shop, stack) -> Caller:
    return Caller(stack.origin, shop.project.key("management").key)


def create(admin, **values) -> dict:
    answer = admin.send("POST", KEYS, {"name": "made", "scopes": ["inference"], **values})
    assert answer.status_code == 201, answer.text
    return answer.json()


def chat(tenant, key: str):
    return tenant.caller.post("/v1/chat/completions", tenant.body("hi"), key=key)


def models(tenant, key: str):
    return tenant.caller.get("/v1/models", key=key)


def audit_rows(usage, project) -> int:
    return usage.query("SELECT count(*) AS n FROM audit_log WHERE project_id = %s", project.id)[0]["n"]


OBJECT = {
    "id", "object", "name", "prefix", "scopes", "endpoint", "active", "ip_filter", "quota", "service", "created_by", "created_at", "last_used_at",
    "expires_at", "grace_expires_at",
}


def test_a_key_is_made_shown_once_and_works(shop, admin):
    made = create(admin, name="ci", scopes=["chat", "management"], expires_in_days=30, endpoint=shop.endpoint.id)
    assert set(made) == OBJECT | {"key"}
    assert made["object"] == "api_key" and made["scopes"] == ["inference", "management"] and made["active"]
    assert made["endpoint"] == "shop" and made["prefix"] == made["key"][:12] and made["key"].startswith(f"xero_{shop.project.slug}_")
    assert abs(made["expires_at"] - time.time() - 30 * 86400) < 60 and made["last_used_at"] is None and made["quota"] is None
    assert chat(shop, made["key"]).status_code == 200
    shown = admin.get(f"{KEYS}/{made['id']}").json()
    assert set(shown) == OBJECT and shown["name"] == "ci"
    assert made["key"] not in admin.get(KEYS, params={"limit": 100}).text


def test_a_key_works_also_when_it_was_tried_before_it_was_there(shop, admin, stack):
    """Nobody can know a key before; what is remembered as wrong is forgotten when any key is made."""
    made = create(admin)
    assert {chat(shop, made["key"]).status_code for _ in range(8)} == {200}


def test_the_project_family_serves_the_same(shop, admin):
    path = f"/{shop.project.slug}/v1/management/api-keys"
    made = admin.send("POST", path, {"name": "n", "scopes": ["inference"]}).json()
    assert admin.get(f"/{shop.project.id}/v1/management/api-keys/{made['id']}").json()["id"] == made["id"]
    expect_error(admin.get(f"/{shop.project.slug}/shop/v1/management/api-keys"), 404, "not_found")


def test_whoami_needs_a_key_of_any_scope(shop, stack):
    for scopes in ("inference", "management", "execution"):
        key = shop.project.key(scopes)
        who = Caller(stack.origin, key.key).get("/v1/management/whoami").json()
        assert who["project"] == {"id": shop.project.id, "slug": shop.project.slug, "name": f"Tests {shop.project.slug}"}
        assert set(who["key"]) == {"id", "name", "prefix", "scopes", "endpoint", "expires_at"}
        assert who["key"]["id"] == key.id and who["key"]["scopes"] == [scopes] and who["user_id"] is None
    expect_error(shop.caller.get("/v1/management/whoami", key=None), 401, "authentication_error")


@pytest.mark.parametrize("scopes", ["inference", "execution", "inference,execution"])
def test_management_needs_its_scope(shop, stack, usage, scopes):
    other = Caller(stack.origin, shop.project.key(scopes).key)
    before = audit_rows(usage, shop.project)
    expect_error(other.get(KEYS), 403, "scope_insufficient")
    expect_error(other.send("POST", KEYS, {"name": "n", "scopes": ["inference"]}), 403, "scope_insufficient")
    assert audit_rows(usage, shop.project) == before


# Rotation


def test_both_values_work_for_the_grace_and_the_old_one_ends_with_it(shop, admin):
    made = create(admin)
    answer = admin.send("POST", f"{KEYS}/{made['id']}/rotate", {"grace_seconds": 3})
    rotated = answer.json()
    assert answer.status_code == 200 and rotated["id"] == made["id"] and rotated["key"] != made["key"]
    assert abs(rotated["grace_expires_at"] - time.time() - 3) <= 2
    ends = time.time() + 3
    for key in (made["key"], rotated["key"]) * 3:
        assert chat(shop, key).status_code == 200
    time.sleep(max(ends - time.time(), 0) + 1)
    for _ in range(8):
        expect_error(chat(shop, made["key"]), 401, "api_key_expired")
        assert chat(shop, rotated["key"]).status_code == 200


def test_without_grace_the_old_value_ends_within_a_second(shop, admin):
    made = create(admin)
    assert {chat(shop, made["key"]).status_code for _ in range(8)} == {200}
    rotated = admin.send("POST", f"{KEYS}/{made['id']}/rotate", {"grace_seconds": 0}).json()
    time.sleep(WITHIN_S)
    for _ in range(8):
        expect_error(chat(shop, made["key"]), 401, "api_key_expired")
    assert chat(shop, rotated["key"]).status_code == 200


def test_rotating_again_ends_the_first_grace_at_once(shop, admin):
    first = create(admin)
    second = admin.send("POST", f"{KEYS}/{first['id']}/rotate", {"grace_seconds": 600}).json()
    third = admin.send("POST", f"{KEYS}/{first['id']}/rotate", {"grace_seconds": 600}).json()
    time.sleep(WITHIN_S)
    assert chat(shop, first["key"]).status_code == 401
    assert chat(shop, second["key"]).status_code == chat(shop, third["key"]).status_code == 200


def test_the_grace_is_a_day_and_the_body_may_be_left_out(shop, admin):
    made = create(admin)
    for rotated in (admin.call("POST", f"{KEYS}/{made['id']}/rotate"), admin.send("POST", f"{KEYS}/{made['id']}/rotate", {})):
        assert abs(rotated.json()["grace_expires_at"] - time.time() - 86400) < 60


# Deletion and change


def test_a_deleted_key_ends_within_a_second_and_is_gone_for_writes(shop, admin):
    made = create(admin)
    assert {chat(shop, made["key"]).status_code for _ in range(8)} == {200}
    answer = admin.call("DELETE", f"{KEYS}/{made['id']}")
    assert answer.status_code == 200 and answer.json() == {"id": made["id"], "object": "api_key.deleted", "deleted": True}
    time.sleep(WITHIN_S)
    for _ in range(8):
        expect_error(chat(shop, made["key"]), 401, "authentication_error")
    expect_error(admin.call("DELETE", f"{KEYS}/{made['id']}"), 404, "key_not_found")
    expect_error(admin.send("PATCH", f"{KEYS}/{made['id']}", {"name": "n"}), 404, "key_not_found")
    expect_error(admin.call("POST", f"{KEYS}/{made['id']}/rotate"), 404, "key_not_found")
    shown = admin.get(f"{KEYS}/{made['id']}").json()
    assert not shown["active"] and shown["name"] == "made"


def test_a_key_is_renamed_narrowed_and_given_an_end(shop, admin):
    made = create(admin, scopes=["inference", "management"], expires_in_days=10)
    changed = admin.send("PATCH", f"{KEYS}/{made['id']}", {"name": "new", "scopes": ["management"], "expires_at": None}).json()
    assert (changed["name"], changed["scopes"], changed["expires_at"]) == ("new", ["management"], None)
    time.sleep(WITHIN_S)
    expect_error(chat(shop, made["key"]), 403, "scope_insufficient")
    ends = int(time.time()) + 1
    admin.send("PATCH", f"{KEYS}/{made['id']}", {"expires_at": ends + 1})
    eventually(lambda: admin.get(KEYS, key=made["key"]).status_code == 401, seconds=4)
    expect_error(admin.get(KEYS, key=made["key"]), 401, "api_key_expired")


@pytest.mark.parametrize("scopes", [["inference", "management"], ["management"], ["execution"], ["chat", "execution"]])
def test_narrowed_scopes_cannot_be_widened(shop, admin, usage, scopes):
    made = create(admin)
    before = audit_rows(usage, shop.project)
    expect_error(admin.send("PATCH", f"{KEYS}/{made['id']}", {"name": "sly", "scopes": scopes}), 400, "invalid_scope", param="scopes")
    assert admin.get(f"{KEYS}/{made['id']}").json() == {name: value for name, value in made.items() if name != "key"}
    assert audit_rows(usage, shop.project) == before


# What is not there, or not ours


@pytest.mark.parametrize("name", ["key_" + "0" * 24, "key_short", "nothing", "proj_" + "0" * 24, "key_'%20OR%201=1"])
def test_an_unknown_key_is_404_everywhere(shop, admin, usage, name):
    before = audit_rows(usage, shop.project)
    for method, path, body in writes(name):
        expect_error(admin.send(method, path, body), 404, "key_not_found")
    expect_error(admin.get(f"{KEYS}/{name}"), 404, "key_not_found")
    assert audit_rows(usage, shop.project) == before


def test_a_key_of_another_project_is_404_everywhere(shop, admin, other_project, usage):
    theirs = other_project.key()
    before = audit_rows(usage, other_project)
    for method, path, body in writes(theirs.id):
        expect_error(admin.send(method, path, body), 404, "key_not_found")
    expect_error(admin.get(f"{KEYS}/{theirs.id}"), 404, "key_not_found")
    expect_error(admin.get(f"/{other_project.slug}/v1/management/api-keys"), 403, "cross_project_access")
    assert audit_rows(usage, other_project) == before
    assert models(shop, theirs.key).status_code == 200


def writes(key: str) -> list:
    return [
        ("PATCH", f"{KEYS}/{key}", {"name": "n"}), ("DELETE", f"{KEYS}/{key}", {}), ("POST", f"{KEYS}/{key}/rotate", {}),
        ("PUT", f"{KEYS}/{key}/ip-filter", {"allow": []}), ("PUT", f"{KEYS}/{key}/quota", {"requests": 1, "window_seconds": 60}),
    ]


# Who may give what


def test_a_member_has_only_own_keys_of_scope_inference(shop, stack, usage):
    project = shop.project
    user = project.member("admin")
    key = project.key("management,inference", created_by=user.email)
    project.set_role(user, "member")
    member = Caller(stack.origin, key.key)
    assert member.get("/v1/management/whoami").json()["user_id"] == user.id
    before = audit_rows(usage, project)
    for scopes in (["management"], ["execution"], ["inference", "management"]):
        expect_error(member.send("POST", KEYS, {"name": "n", "scopes": scopes}), 403, "permission_denied")
    expect_error(member.send("POST", KEYS, {"name": "n", "scopes": ["inference"], "service": True}), 403, "permission_denied")
    expect_error(member.get("/v1/management/project/audit"), 403, "permission_denied")
    others = project.key()
    for method, path, body in writes(others.id):
        expect_error(member.send(method, path, body), 404, "key_not_found")
    expect_error(member.get(KEYS, params={"after": others.id}), 400, "invalid_cursor")
    assert audit_rows(usage, project) == before + 1  # of the operator's key
    own = member.send("POST", KEYS, {"name": "n", "scopes": ["inference"]}).json()
    assert own["created_by"] == user.id
    assert {each["id"] for each in member.get(KEYS, params={"limit": 100}).json()["data"]} == {own["id"], key.id}
    for method, path, body in writes(own["id"])[2:] + writes(own["id"])[:2]:
        assert member.send(method, path, body).status_code == 200
    # The key of scope management was given by an admin; a member cannot make it anew.
    expect_error(member.send("POST", f"{KEYS}/{key.id}/rotate", {}), 403, "permission_denied")


@pytest.mark.parametrize("role", ["viewer", None])
def test_who_is_no_more_than_a_viewer_manages_no_keys(shop, stack, usage, role):
    project = shop.project
    user = project.member("owner")
    key = project.key("management", created_by=user.email)
    caller = Caller(stack.origin, key.key)
    assert caller.get(KEYS).status_code == 200
    if role:
        project.set_role(user, role)
    else:
        usage.query("DELETE FROM memberships WHERE user_id = %s RETURNING role", user.id)
    before = audit_rows(usage, project)
    expect_error(caller.get(KEYS), 403, "permission_denied")
    expect_error(caller.get(f"{KEYS}/{key.id}"), 403, "permission_denied")
    expect_error(caller.send("POST", KEYS, {"name": "n", "scopes": ["inference"]}), 403, "permission_denied")
    for method, path, body in writes(key.id):
        expect_error(caller.send(method, path, body), 403, "permission_denied")
    assert audit_rows(usage, project) == before


def test_only_an_owner_marks_a_key_as_a_services(shop, stack):
    for role, status in (("owner", 201), ("admin", 403)):
        caller = Caller(stack.origin, shop.project.key("management", created_by=shop.project.member(role).email).key)
        assert caller.send("POST", KEYS, {"name": "n", "scopes": ["management"], "service": True}).status_code == status


# Bad input

BAD_NEW = [
    ({"name": ...}, "missing_required_parameter", "name"), ({"name": 5}, "invalid_value", "name"), ({"name": ""}, "invalid_value", "name"),
    ({"name": "x" * 65}, "invalid_value", "name"), ({"scopes": ...}, "missing_required_parameter", "scopes"), ({"scopes": []}, "invalid_scope", "scopes"),
    ({"scopes": "inference"}, "invalid_value", "scopes"), ({"scopes": ["root"]}, "invalid_scope", "scopes"), ({"scopes": [[]]}, "invalid_value", "scopes"),
    ({"endpoint": 7}, "invalid_value", "endpoint"), ({"expires_at": 1}, "invalid_value", "expires_at"), ({"expires_at": -5}, "invalid_value", "expires_at"),
    ({"expires_at": 10**18}, "invalid_value", "expires_at"), ({"expires_at": "2030-01-01"}, "invalid_value", "expires_at"),
    ({"expires_in_days": 0}, "invalid_value", "expires_in_days"), ({"expires_in_days": 3651}, "invalid_value", "expires_in_days"),
    ({"expires_in_days": 1e30}, "invalid_value", "expires_in_days"), ({"expires_in_days": 1, "expires_at": 2 * 10**9}, "unsupported_combination", "expires_in_days"),
    ({"service": 1}, "invalid_value", "service"), ({"ip_filter": "10.0.0.0/8"}, "invalid_value", "ip_filter"),
    ({"ip_filter": {"allow": ["10.0.0.0/33"]}}, "invalid_value", "ip_filter"), ({"ip_filter": {"allow": ["fe80::%eth0/10"]}}, "invalid_value", "ip_filter"),
    ({"ip_filter": {"allow": ["10.0.0.0/8"] * 101}}, "invalid_value", "ip_filter"), ({"ip_filter": {"deny": []}}, "unsupported_parameter", "ip_filter"),
    ({"quota": {"requests": 0, "window_seconds": 60}}, "invalid_value", "quota"), ({"quota": {"requests": 10**18, "window_seconds": 60}}, "invalid_value", "quota"),
    ({"quota": {"requests": 1, "window_seconds": 1}}, "invalid_value", "quota"), ({"quota": []}, "invalid_value", "quota"),
]  # fmt: skip


@pytest.mark.parametrize("change,code,param", BAD_NEW, ids=lambda value: str(value)[:50])
def test_a_bad_field_of_a_new_key_is_named_and_nothing_is_made(shop, admin, usage, change, code, param):
    body = {"name": "n", "scopes": ["inference"], **change}
    before = audit_rows(usage, shop.project), admin.get(KEYS).json()["first_id"]
    expect_error(admin.send("POST", KEYS, {name: value for name, value in body.items() if value is not ...}), 400, code, param=param)
    assert (audit_rows(usage, shop.project), admin.get(KEYS).json()["first_id"]) == before


def test_an_unknown_endpoint_is_404(admin):
    for name in ("no-such", "ep_" + "0" * 24, "", "x" * 5000):
        expect_error(admin.send("POST", KEYS, {"name": "n", "scopes": ["inference"], "endpoint": name}), 404, "endpoint_not_found", param="endpoint")


@pytest.mark.parametrize("method,tail,body,param", [
    ("PATCH", "", {"scopes": ["root"]}, "scopes"), ("PATCH", "", {"name": []}, "name"), ("PATCH", "", {"expires_at": 1}, "expires_at"),
    ("PATCH", "", {"quota": None}, "quota"), ("PATCH", "", {"ip_filter": {}}, "ip_filter"), ("PATCH", "", {"endpoint": "x"}, "endpoint"), ("PATCH", "", {}, None),
    ("POST", "/rotate", {"grace_seconds": -1}, "grace_seconds"), ("POST", "/rotate", {"grace_seconds": 604801}, "grace_seconds"),
    ("POST", "/rotate", {"grace_seconds": "1"}, "grace_seconds"), ("PUT", "/ip-filter", {"allow": ["nonsense"]}, "allow"),
    ("PUT", "/ip-filter", {"allow": ["::/0"] * 101}, "allow"), ("PUT", "/ip-filter", {"block": ["10.0.0.1/8"]}, "block"), ("PUT", "/ip-filter", {"block": 1}, "block"),
    ("PUT", "/quota", {}, "requests"), ("PUT", "/quota", {"requests": 5, "window_seconds": 1e9}, "window_seconds"),
    ("PUT", "/quota", {"requests": 5, "window_seconds": 60, "tokens": -1}, "tokens"), ("PUT", "/quota", {"requests": True, "window_seconds": 60}, "requests"),
])  # fmt: skip
def test_a_bad_field_of_a_change_is_named_and_nothing_is_changed(shop, admin, usage, method, tail, body, param):
    made = create(admin)
    before = audit_rows(usage, shop.project)
    answer = admin.send(method, f"{KEYS}/{made['id']}{tail}", body)
    assert answer.status_code == 400 and (answer.json()["error"]["param"] or "").split("[")[0] == (param or ""), answer.text
    assert admin.get(f"{KEYS}/{made['id']}").json() == {name: value for name, value in made.items() if name != "key"}
    assert audit_rows(usage, shop.project) == before


@pytest.mark.parametrize("content,code", [(b"", "json_parse_error"), (b"{", "json_parse_error"), (b"[]", "invalid_request"), (b"null", "invalid_request"), (b'{"name":"a","name":"b"}', "json_parse_error"), (b'{"name":"\\u0000"}', "json_parse_error"), (b"\xff", "json_parse_error")])
def test_a_broken_body_is_400(admin, content, code):
    expect_error(admin.call("POST", KEYS, content=content, headers={"Content-Type": "application/json"}), 400, code)


def test_a_body_over_a_mebibyte_is_413(admin):
    answer = admin.call("POST", KEYS, content=b" " * ((1 << 20) + 1), headers={"Content-Type": "application/json"})
    expect_error(answer, 413, "request_too_large")


def test_a_key_in_the_url_is_refused(shop, admin):
    for query in (f"api_key={shop.key.key}", f"x=1&key={shop.key.key}", shop.key.key, "key=" + shop.key.key.replace("_", "%5f")):
        for key in (None, shop.key.key):
            expect_error(shop.caller.get(f"/v1/models?{query}", key=key), 401, "authentication_error")


# Lists


def test_paging_returns_each_of_250_keys_once_while_keys_are_made(make_tenant, stack):
    """01 §7."""
    project = make_tenant().project
    admin = Caller(stack.origin, project.key("management").key)
    made = set(together(250, lambda number: create(admin, name=f"k{number}")["id"], threads=8))
    for order in ("desc", "asc"):
        found, after = [], None
        while True:
            page = admin.get(KEYS, params={"limit": 100, "order": order, "scope": "inference", **({"after": after} if after else {})}).json()
            found += page["data"]
            create(admin, name="meanwhile")
            if not page["has_more"]:
                break
            after = page["last_id"]
        ids = [each["id"] for each in found]
        assert len(ids) == len(set(ids)) and made <= set(ids)
        times = [(each["created_at"], each["id"]) for each in found]
        assert [at for at, _ in times] == sorted((at for at, _ in times), reverse=order == "desc")


def test_a_page_before_a_key_is_the_one_next_to_it(make_tenant, stack):
    project = make_tenant().project
    admin = Caller(stack.origin, project.key("management").key)
    for _ in range(5):
        create(admin)
    ids = [each["id"] for each in admin.get(KEYS).json()["data"]]
    page = admin.get(KEYS, params={"before": ids[4], "limit": 2}).json()
    assert [each["id"] for each in page["data"]] == ids[2:4] and page["has_more"]
    page = admin.get(KEYS, params={"before": ids[1], "limit": 2}).json()
    assert [each["id"] for each in page["data"]] == ids[:1] and not page["has_more"]
    assert [each["id"] for each in admin.get(KEYS, params={"after": ids[0], "before": ids[3]}).json()["data"]] == ids[1:3]
    admin.call("DELETE", f"{KEYS}/{ids[2]}")
    assert [each["id"] for each in admin.get(KEYS, params={"after": ids[2], "limit": 1}).json()["data"]] == ids[3:4]
    assert ids[2] not in {each["id"] for each in admin.get(KEYS, params={"active": "true"}).json()["data"]}
    assert {each["id"] for each in admin.get(KEYS, params={"active": "false"}).json()["data"]} == {ids[2]}
    assert {scope for each in admin.get(KEYS, params={"scope": "management"}).json()["data"] for scope in each["scopes"]} == {"management"}


@pytest.mark.parametrize("query,code", [("limit=0", "invalid_value"), ("limit=101", "invalid_value"), ("limit=x", "invalid_value"), ("order=up", "invalid_value"), ("active=yes", "invalid_value"), ("scope=root", "invalid_scope"), ("after=nothing", "invalid_cursor"), ("before=", "invalid_cursor"), ("after=key_" + "0" * 24, "invalid_cursor")])
def test_a_bad_query_is_named(admin, query, code):
    expect_error(admin.get(f"{KEYS}?{query}"), 400, code, param=query.split("=")[0])


def test_an_id_of_another_project_is_no_cursor(admin, other_project):
    expect_error(admin.get(KEYS, params={"after": other_project.key().id}), 400, "invalid_cursor", param="after")


def test_last_used_is_noted(shop, admin):
    made = create(admin)
    assert chat(shop, made["key"]).status_code == 200
    eventually(lambda: admin.get(f"{KEYS}/{made['id']}").json()["last_used_at"], seconds=15, every=0.5)


def test_no_value_of_a_key_is_in_the_database(shop, admin, usage):
    """Every value that was ever handed out, after rotation too."""
    made = create(admin)
    rotated = admin.send("POST", f"{KEYS}/{made['id']}/rotate", {}).json()
    tables = usage.query("SELECT table_name AS t FROM information_schema.tables WHERE table_type = 'BASE TABLE' AND table_schema = 'public'")
    assert {"api_keys", "audit_log"} <= {table["t"] for table in tables}
    for secret in (made["key"], rotated["key"]):
        for table in tables:
            for part in (secret.split("_", 2)[2], secret.encode().hex()):
                assert usage.query(f'SELECT count(*) AS n FROM "{table["t"]}" AS row WHERE strpos(row::text, %s) > 0', part)[0]["n"] == 0, table


def test_names_may_be_any_text(admin):
    for name in ("日本語のキー", "a'; DROP TABLE api_keys; --", "<script>", "\"quoted\"", secrets.token_hex(32)):
        assert create(admin, name=name)["name"] == name
