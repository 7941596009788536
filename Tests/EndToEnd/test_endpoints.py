"""Endpoints over the API (spec 07 §6)."""

import time

import openai
import pytest

from harness.calls import Caller, expect_error, messages, script
from harness.logs import access_log
from harness.tenants import Project, unique
from harness.together import eventually, together

ENDPOINTS = "/v1/endpoints"
OBJECT = {
    "id", "object", "slug", "name", "description", "model", "model_version", "tier", "task_mode", "aliases", "upstream", "placement", "tools", "limits",
    "defaults", "retention", "memory", "prefix_cache", "migrate", "context_length", "quantization", "speculative", "kv_cache", "cors", "visibility", "metadata",
    "base_url", "status", "status_detail", "generation", "active_version", "workers", "price", "created_at", "updated_at", "last_request_at",
}
UPSTREAM = {"urls", "model", "api_key_set", "api", "timeout_ms", "health_path", "headers", "max_concurrent", "engine", "engine_detected"}
# Changes act everywhere within this.
WITHIN_S = 2


class Owner(Caller):
    """A key of the scopes `inference` and `management`."""

    def __init__(self, stack, project: Project, **values):
        super().__init__(stack.origin, project.key("inference,management", **values).key)
        self.project = project

    def create(self, engine, **values) -> dict:
        answer = self.post(ENDPOINTS, body(engine, **values))
        assert answer.status_code == 201, answer.text
        return answer.json()

    def active(self, engine, **values) -> dict:
        return self.wait_until(self.create(engine, **values)["slug"], "active")

    def wait_until(self, slug: str, *statuses: str, seconds: float = 30) -> dict:
        def found():
            endpoint = self.get(f"{ENDPOINTS}/{slug}").json()
            return endpoint if endpoint["status"] in statuses else None

        return eventually(found, seconds=seconds)

    def patch(self, name: str, values: dict, **more):
        return self.send("PATCH", f"{ENDPOINTS}/{name}", values, **more)

    def chat(self, slug: str, content="hi", key="own", **values):
        return self.post("/v1/chat/completions", {"model": slug, "messages": messages(content), **values}, key=key)


def body(engine, **values) -> dict:
    made = {"slug": unique("ep"), "tier": "demo", "upstream": {"url": engine.url, "model": "scripted-model"}, **values}
    return {name: value for name, value in made.items() if value is not ...}


@pytest.fixture(scope="module")
def owner(stack) -> Owner:
    return Owner(stack, Project.create("ep"))


@pytest.fixture
def fresh(stack) -> Owner:
    """A project without endpoints."""
    return Owner(stack, Project.create("ep"))


@pytest.fixture(scope="module")
def talk(owner, engines) -> dict:
    return owner.active(engines[0], slug="talk")


def rows(usage, project: Project) -> tuple:
    """What the project has stored about endpoints: all of the rows, and how many lines of audit."""
    endpoints = usage.query(
        "SELECT to_jsonb(e) - 'probed_at' - 'probe_failures' - 'ready_servers' - 'last_request_at' - 'status' - 'status_detail' AS row FROM endpoints e WHERE project_id = %s ORDER BY id",
        project.id)
    models = usage.query("SELECT count(*) AS n FROM models WHERE project_id = %s", project.id)[0]["n"]
    lines = usage.query("SELECT count(*) AS n FROM audit_log WHERE project_id = %s AND target_type = 'endpoint'", project.id)[0]["n"]
    return endpoints, models, lines


# MARK: Making them


def test_an_endpoint_is_made_shown_and_called_with_the_sdk_and_its_key_is_seen_nowhere(stack, owner, engine, usage, sdk_http):
    secret = f"sk-upstream-{unique('secret')}"
    started = time.monotonic()
    answer = owner.post(ENDPOINTS, body(engine, slug="made", upstream={"url": engine.url, "model": "scripted-model", "api_key": secret}, metadata={"team": "blue"}))
    assert answer.status_code == 201 and answer.headers["etag"] == '"1"'
    made = answer.json()
    assert set(made) == OBJECT and set(made["upstream"]) == UPSTREAM
    assert made["object"] == "endpoint" and made["status"] == "provisioning" and made["generation"] == 1
    assert (made["name"], made["model"], made["model_version"], made["active_version"]) == ("made", "scripted-model", "latest", "1")
    assert made["upstream"]["urls"] == [engine.url] and made["upstream"]["api_key_set"] is True
    assert made["defaults"] == {"temperature": 0.7, "top_p": 0.9, "system_prompt": None, "service_tier": None, "reasoning_effort": None}
    assert made["price"] == {"usd_per_million_tokens": "1"} and made["metadata"] == {"team": "blue"}
    assert made["base_url"].endswith(f"/{owner.project.slug}/made/v1")
    client = openai.OpenAI(base_url=made["base_url"], api_key=owner.key, max_retries=0, http_client=sdk_http)

    def called():
        try:
            return client.chat.completions.create(model="made", messages=messages(script(text="hello")))
        except openai.InternalServerError as error:
            assert error.code == "endpoint_inactive" and error.response.headers["retry-after"]

    completion = eventually(called, seconds=30)
    assert time.monotonic() - started < 30
    assert completion.choices[0].message.content == "hello"
    assert engine.records(completion._request_id)[0]["headers"]["authorization"] == f"Bearer {secret}"
    shown = owner.wait_until("made", "active")
    assert shown["workers"] == {"ready": 1, "loading": 0}
    assert owner.get(f"{ENDPOINTS}/{made['id']}").json()["slug"] == "made"
    assert owner.patch("made", {"description": "new"}).status_code == 200
    texts = [owner.get(path).text for path in (ENDPOINTS, f"{ENDPOINTS}/made", "/v1/management/project/audit", "/v1/models")]
    texts += [path.read_text(errors="replace") for path in stack.folder.glob("log/*.log")]
    texts += [str(rows(usage, owner.project)), access_log(stack).read_text()]
    # Bytes of the database show in hexadecimal.
    assert "made" in texts[0] and not [text for text in texts if secret in text or secret.encode().hex() in text]


@pytest.mark.patient
def test_an_endpoint_comes_to_life_by_a_probe_and_fails_without_one(fresh, engines, mortal_engine, stack):
    dead = fresh.create(mortal_engine.engines[0], slug="dead")
    assert fresh.chat("dead").json()["error"]["code"] == "endpoint_inactive"
    failed = fresh.wait_until("dead", "failed", seconds=4 * 15 * stack.time_scale + 15)
    assert "0 of 1" in failed["status_detail"] and failed["workers"]["ready"] == 0
    expect_error(fresh.chat("dead"), 503, "endpoint_inactive")
    mortal_engine.start()
    assert fresh.send("POST", f"{ENDPOINTS}/{dead['id']}/activate", {}).status_code == 202
    assert fresh.wait_until("dead", "active")["status_detail"] is None
    assert eventually(lambda: fresh.chat("dead").status_code == 200)


@pytest.mark.patient
@pytest.mark.limit(240)
def test_one_server_of_two_away_is_degraded_and_still_serves(fresh, engines, stack):
    two = [engines[1], engines[2]]
    fresh.active(engines[1], slug="pair", upstream={"urls": [engine.url for engine in two], "health_path": "/health"})
    engines[2].behave(health_status=500)
    try:
        found = fresh.wait_until("pair", "degraded", seconds=6 * 15 * stack.time_scale + 20)
        assert found["workers"]["ready"] == 1 and "1 of 2" in found["status_detail"]
        assert fresh.chat("pair").status_code == 200
    finally:
        engines[2].behave_well()
    fresh.wait_until("pair", "active", seconds=3 * 15 * stack.time_scale + 20)


def test_the_model_need_not_be_named_and_a_dedicated_tier_is_the_shared_one(owner, engine):
    named = owner.create(engine, upstream={"url": engine.url, "model": "their-name"})
    assert named["model"] == "their-name"
    nameless = owner.create(engine, upstream={"url": engine.url})
    assert nameless["model"] == nameless["slug"]
    again = owner.create(engine, model="their-name", tier="gpu_nvidia_dedicated", task_mode="chat")
    assert (again["model"], again["tier"], again["task_mode"]) == ("their-name", "gpu_nvidia_shared", "generate")


def test_aliases_find_an_endpoint_in_the_flat_form(owner, engine):
    alias = unique("gpt")
    made = owner.active(engine, aliases=[alias])
    answer = eventually(lambda: (got := owner.chat(alias)).status_code == 200 and got)
    assert answer.headers["x-xerotier-routed-endpoint"] == made["slug"]


# MARK: Changing them


def test_a_patch_of_the_temperature_acts_within_two_seconds_and_drops_no_stream(owner, talk, engine):
    before = owner.get(f"{ENDPOINTS}/talk").json()
    long = {"text": "word " * 60, "delay_ms": 50}
    sent = []

    def stream(number):
        return owner.stream("/v1/chat/completions", {"model": "talk", "stream": True, "messages": messages(script(**long))})

    def patch(_):
        time.sleep(0.5)
        answer = owner.patch("talk", {"defaults": {"temperature": 0.123}})
        done = time.monotonic()
        assert answer.status_code == 200, answer.text
        while True:
            called = owner.chat("talk", script(text="a"))
            sent.append(engine.record(called.headers["x-request-id"])["body"]["temperature"])
            if sent[-1] == 0.123:
                return answer.json(), time.monotonic() - done
            assert time.monotonic() - done < WITHIN_S, sent

    results = together(9, lambda number: patch(number) if number == 8 else stream(number))
    after, seconds = results[8]
    assert seconds < WITHIN_S
    assert after["generation"] == before["generation"] + 1 and after["defaults"]["temperature"] == 0.123 and after["defaults"]["top_p"] == 0.9
    for streamed in results[:8]:
        streamed.check()
        assert streamed.text() == "word " * 60
        # A request sees one generation from admission to end.
        assert engine.record(streamed.request_id)["body"]["temperature"] in (before["defaults"]["temperature"], 0.123)


def test_a_stale_if_match_is_412_and_changes_nothing(owner, engine, usage):
    made = owner.create(engine)
    assert owner.patch(made["slug"], {"description": "one"}, headers={"If-Match": '"1"'}).json()["generation"] == 2
    before = rows(usage, owner.project)
    error = expect_error(owner.patch(made["slug"], {"description": "two"}, headers={"If-Match": '"1"'}), 412, "version_conflict")
    assert "2" in error["message"]
    for method, tail in (("PUT", ""), ("DELETE", ""), ("POST", "/deactivate")):
        value = body(engine, slug=...) if method == "PUT" else {}
        expect_error(owner.send(method, f"{ENDPOINTS}/{made['slug']}{tail}", value, headers={"If-Match": '"1"'}), 412, "version_conflict")
    expect_error(owner.patch(made["slug"], {"description": "x"}, headers={"If-Match": "soon"}), 400, "invalid_value", param="If-Match")
    assert rows(usage, owner.project) == before


def test_of_many_changes_with_one_generation_one_wins(owner, engine):
    made = owner.create(engine)
    answers = together(8, lambda number: owner.patch(made["slug"], {"description": f"by {number}"}, headers={"If-Match": '"1"'}))
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7


def test_the_same_again_is_no_change(owner, engine, usage):
    made = owner.create(engine, limits={"max_tokens": 7})
    before = rows(usage, owner.project)
    assert owner.patch(made["slug"], {"limits": {"max_tokens": 7}, "tier": "demo"}).json()["generation"] == 1
    assert rows(usage, owner.project) == before


def test_a_patch_changes_what_it_names_and_null_goes_back_to_the_default(owner, engine):
    made = owner.create(
        engine, limits={"max_tokens": 7, "max_concurrent": 3}, defaults={"temperature": 1.5, "system_prompt": "Be brief."}, context_length=4096,
        metadata={"a": "1"}, upstream={"url": engine.url, "headers": {"X-Team": "blue"}, "timeout_ms": 5000})
    slug = made["slug"]
    changed = owner.patch(slug, {"limits": {"max_tokens": None}, "defaults": {"temperature": None}, "upstream": {"timeout_ms": None}, "metadata": None}).json()
    assert changed["limits"]["max_tokens"] is None and changed["limits"]["max_concurrent"] == 3
    assert changed["defaults"]["temperature"] == 0.7 and changed["defaults"]["system_prompt"] == "Be brief."
    assert changed["upstream"]["timeout_ms"] == 300000 and changed["upstream"]["headers"] == {"X-Team": "blue"}
    assert changed["metadata"] == {} and changed["context_length"] == 4096
    replaced = owner.send("PUT", f"{ENDPOINTS}/{slug}", body(engine, slug=slug, visibility="public_key")).json()
    assert replaced["defaults"]["system_prompt"] is None and replaced["limits"]["max_concurrent"] is None and replaced["context_length"] is None
    assert replaced["upstream"]["headers"] == {} and replaced["visibility"] == "public_key" and replaced["generation"] == 3


def test_the_stored_key_goes_to_no_other_server(owner, engines, usage):
    made = owner.active(engines[0], upstream={"url": engines[0].url, "api_key": "sk-stored"})
    slug = made["slug"]
    before = rows(usage, owner.project)
    for value in ({"url": engines[1].url}, {"urls": [engines[0].url, engines[1].url]}):
        expect_error(owner.patch(slug, {"upstream": value}), 400, "missing_required_parameter", param="upstream.api_key")
    expect_error(owner.send("PUT", f"{ENDPOINTS}/{slug}", body(engines[1], slug=slug)), 400, "missing_required_parameter", param="upstream.api_key")
    assert rows(usage, owner.project) == before
    # Kept where nothing moves, and by a PUT, which cannot repeat it.
    assert owner.send("PUT", f"{ENDPOINTS}/{slug}", body(engines[0], slug=slug)).json()["upstream"]["api_key_set"]
    moved = owner.patch(slug, {"upstream": {"url": engines[1].url, "api_key": None}}).json()
    assert moved["upstream"]["urls"] == [engines[1].url] and not moved["upstream"]["api_key_set"]
    called = eventually(lambda: (got := owner.chat(slug)).status_code == 200 and engines[1].records(got.headers["x-request-id"]))
    assert "authorization" not in called[0]["headers"]


def test_the_audit_log_keeps_no_key_no_value_of_a_header_and_no_prompt(owner, engine, usage):
    made = owner.create(engine, upstream={"url": engine.url, "api_key": "sk-hidden", "headers": {"X-Team": "hidden"}}, defaults={"system_prompt": "hidden", "top_p": 0.5})
    assert owner.patch(made["slug"], {"description": "new"}).status_code == 200
    lines = usage.query("SELECT before, after FROM audit_log WHERE target_id = %s ORDER BY seq", made["id"])
    for kept in (lines[0]["after"], lines[1]["before"], lines[1]["after"]):
        assert (kept["upstream_api_key"], kept["upstream_headers"]) == ("set", ["X-Team"])
        assert kept["defaults"]["top_p"] == 0.5 and "hidden" not in str(kept)


def test_other_servers_are_asked_at_once_and_a_failed_endpoint_may_live_again(owner, engines, usage):
    slug = owner.active(engines[0])["slug"]
    usage.query("UPDATE endpoints SET status = 'failed', probed_at = now() + interval '1 hour' WHERE project_id = %s AND slug = %s RETURNING 1", owner.project.id, slug)
    assert owner.patch(slug, {"upstream": {"url": engines[1].url}}).status_code == 200
    assert owner.wait_until(slug, "active")["upstream"]["urls"] == [engines[1].url]


def test_a_pinned_key_manages_its_endpoint_alone(stack, owner, talk, engine, usage):
    other = owner.create(engine)
    pinned = Owner(stack, owner.project, endpoint="talk")
    assert pinned.get(f"{ENDPOINTS}/talk").status_code == 200
    before = rows(usage, owner.project)
    for name in (other["id"], other["slug"]):
        path = f"{ENDPOINTS}/{name}"
        put = body(engine, slug=other["slug"], description="x")
        for method, target, value in (
            ("GET", path, None), ("GET", f"{path}/limits", None), ("GET", f"{path}/stats", None), ("PATCH", path, {"description": "x"}), ("PUT", path, put),
            ("DELETE", path, None), ("POST", f"{path}/deactivate", {}), ("POST", f"{path}/restart", {}), ("POST", f"{path}/test", {}),
        ):
            answer = pinned.call(method, target) if value is None else pinned.send(method, target, value)
            expect_error(answer, 403, "endpoint_mismatch")
    assert rows(usage, owner.project) == before


# MARK: States


def test_deactivating_activating_and_restarting(owner, engine, usage):
    made = owner.active(engine)
    slug = made["slug"]

    def step(name):
        return owner.send("POST", f"{ENDPOINTS}/{slug}/{name}", {})

    running = together(2, lambda number: step("deactivate") if number and not time.sleep(0.3) else owner.stream(
        "/v1/chat/completions", {"model": slug, "stream": True, "messages": messages(script(text="word " * 30, delay_ms=50))}))
    running[0].check()
    assert running[1].status_code == 202 and running[1].json()["status"] == "inactive"
    refused = owner.chat(slug)
    expect_error(refused, 503, "endpoint_inactive")
    expect_error(step("restart"), 409, "conflict")
    count = rows(usage, owner.project)[2]
    assert step("deactivate").json()["generation"] == running[1].json()["generation"] and rows(usage, owner.project)[2] == count
    assert step("activate").json()["status"] == "provisioning"
    active = owner.wait_until(slug, "active")
    restarted = step("restart")
    assert restarted.status_code == 202 and restarted.json()["generation"] == active["generation"] + 1
    owner.wait_until(slug, "active")
    assert eventually(lambda: owner.chat(slug).status_code == 200)
    lines = usage.query("SELECT action FROM audit_log WHERE target_id = %s ORDER BY seq", made["id"])
    assert [line["action"] for line in lines] == ["endpoint.create", "endpoint.deactivate", "endpoint.activate", "endpoint.restart"]


def test_a_deleted_endpoint_is_gone_at_once_what_runs_goes_on_and_its_slug_waits(stack, owner, engine, usage):
    made = owner.active(engine, upstream={"url": engine.url, "api_key": "sk-deleted"})
    slug = made["slug"]
    used = eventually(lambda: (got := owner.chat(slug)).status_code == 200 and got)

    def delete(_):
        time.sleep(0.4)
        return owner.call("DELETE", f"{ENDPOINTS}/{slug}")

    stream, deleted = together(2, lambda number: delete(number) if number else owner.stream(
        "/v1/chat/completions", {"model": slug, "stream": True, "messages": messages(script(text="word " * 30, delay_ms=50))}))
    stream.check()
    assert deleted.status_code == 200 and deleted.json() == {"id": made["id"], "object": "endpoint.deleted", "deleted": True}
    path = f"/{owner.project.slug}/{slug}/v1/chat/completions"
    eventually(lambda: owner.post(path, {"model": "x", "messages": messages("hi")}).json().get("error", {}).get("code") == "endpoint_not_found", seconds=WITHIN_S)
    expect_error(owner.chat(slug), 404, "model_not_found")
    for name in (slug, made["id"]):
        expect_error(owner.get(f"{ENDPOINTS}/{name}"), 404, "endpoint_not_found")
        expect_error(owner.call("DELETE", f"{ENDPOINTS}/{name}"), 404, "endpoint_not_found")
    assert slug not in owner.get(ENDPOINTS, params={"limit": 100}).text
    row = usage.one(used.headers["x-request-id"])
    assert (row["endpoint_id"], row["endpoint_slug"]) == (made["id"], slug)
    stored = usage.query("SELECT status, deleted_at, upstream_api_key FROM endpoints WHERE id = %s", made["id"])[0]
    assert stored["status"] in ("deleting", "deleted") and stored["deleted_at"] and stored["upstream_api_key"] is None
    # Usable again after a day.
    expect_error(owner.post(ENDPOINTS, body(engine, slug=slug)), 409, "slug_taken", param="slug")
    usage.query("UPDATE endpoints SET deleted_at = deleted_at - interval '24 hours' WHERE id = %s RETURNING 1", made["id"])
    assert owner.create(engine, slug=slug)["id"] != made["id"]


# MARK: Lists


def test_pages_hold_each_endpoint_once_and_filters_choose(fresh, engine):
    slugs = [fresh.create(engine, slug=f"list-{number:02}", name=f"Number {number}", tier="demo" if number % 2 else "gpu_amd_shared")["slug"] for number in range(12)]
    fresh.create(engine, slug="vectors", task_mode="embed", model="all-MiniLM")
    found, after = [], None
    while True:
        page = fresh.get(ENDPOINTS, params={"limit": 5, "order": "asc", **({"after": after} if after else {})}).json()
        found += [each["slug"] for each in page["data"]]
        after = page["last_id"]
        if not page["has_more"]:
            break
    assert found == [*slugs, "vectors"]

    def listed(**query):
        return [each["slug"] for each in fresh.get(ENDPOINTS, params={"limit": 100, "order": "asc", **query}).json()["data"]]

    assert listed(tier="gpu_amd_shared") == slugs[::2]
    assert listed(task_mode="embed") == listed(q="minilm") == ["vectors"]
    assert listed(q="NUMBER 11") == ["list-11"] and listed(q="%") == []
    fresh.send("POST", f"{ENDPOINTS}/list-03/deactivate", {})
    assert listed(status="inactive") == ["list-03"]
    for name, value in (("status", "asleep"), ("task_mode", "sing"), ("limit", "0")):
        expect_error(fresh.get(ENDPOINTS, params={name: value}), 400, "invalid_value", param=name)
    cursor = page["data"][0]["id"]
    fresh.call("DELETE", f"{ENDPOINTS}/{cursor}")
    assert fresh.get(ENDPOINTS, params={"after": cursor}).status_code == 200
    expect_error(fresh.get(ENDPOINTS, params={"after": "ep_0123456789abcdefghijklmn"}), 400, "invalid_cursor", param="after")
