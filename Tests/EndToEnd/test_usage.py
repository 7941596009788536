"""What a project has used: summary, days, requests, as JSON and CSV (spec 08 §5)."""

import csv
import io
import secrets
import time
from datetime import datetime, timezone
from decimal import Decimal

import psycopg
import pytest

from harness.calls import Caller, expect_error
from harness.tenants import Project, billing
from harness.together import eventually

USAGE = {"prompt_tokens": 1000, "completion_tokens": 333, "total_tokens": 1333, "prompt_tokens_details": {"cached_tokens": 400}}
BLOCK = 730 * 3600
COUNTS = ["requests", "errors_client", "errors_agent", "input_tokens", "output_tokens", "cached_tokens", "total_tokens"]
TIMES = [f"{kind}_p{part}_ms" for kind in ("latency", "ttft") for part in (50, 95, 99)]
REQUEST = """id created_at request_id endpoint_id endpoint endpoint_status model_id model model_version api_key_id user_id surface service_tier tier
is_xim is_stream input_tokens output_tokens cached_tokens reasoning_tokens cost price_per_mtok multiplier_bp status error_code fault finish_reason
cut_by_client ttft_ms latency_ms ledger_transaction_id""".split()
ROUTING = ["worker_id", "queue_ms", "router_us", "retries", "region"]


@pytest.fixture
def used(make_tenant, engine):
    """A project of its own with three good requests, one of them a stream and one of flex, and one that the engine broke."""
    tenant = make_tenant(Project.create("e2e-usage"), slug="talk")
    tenant.chat(script={"text": "one", "usage": USAGE})
    tenant.stream(script={"text": "two", "usage": USAGE})
    tenant.chat(script={"text": "three", "usage": USAGE}, service_tier="flex")
    tenant.chat(script={"status": 401})
    return tenant


def get(tenant, path: str, **query) -> dict:
    answer = tenant.caller.get(f"/v1/usage/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def today() -> str:
    return datetime.now(timezone.utc).date().isoformat()


def nano(dollars: str) -> int:
    assert len(dollars.partition(".")[2]) == 9, dollars
    return int(Decimal(dollars) * 10**9)


def rows_of(usage, tenant) -> list:
    return usage.of_project(tenant.project.id)


def roll_up(usage, tenant):
    """Until all rows of the project are in the rollups: any transaction of the server that is still under way holds them up."""
    def is_done():
        billing("rollup")
        return usage.query(
            "SELECT 1 FROM usage_progress WHERE watermark > (SELECT max(xid::text::bigint)::text::xid8 FROM usage_events WHERE project_id = %s)",
            tenant.project.id)

    eventually(is_done, seconds=30)


def test_an_endpoint_tells_when_it_was_last_asked(used, usage):
    path = f"/v1/endpoints/{used.endpoint.slug}"
    generation = used.caller.get(path).json()["generation"]
    roll_up(usage, used)
    shown = used.caller.get(path).json()
    # As of the last round of the rollups, and no change of the endpoint.
    assert shown["last_request_at"] == int(max(row["created_at"] for row in rows_of(usage, used)).timestamp())
    assert shown["generation"] == generation


def test_summary_and_days_are_the_sums_of_the_rows_before_and_after_they_are_rolled_up(used, usage, stack):
    """A transaction that is under way keeps the rows past the watermark at first."""
    with psycopg.connect(stack.database_url) as holdup:
        holdup.execute("SELECT pg_current_xact_id()")
        used.chat(script={"text": "four", "usage": USAGE})
        billing("rollup")
        assert usage.query("SELECT coalesce(sum(requests), 0)::bigint AS n FROM daily_usage_rollups WHERE project_id = %s", used.project.id)[0]["n"] < 5
        before = get(used, "summary"), get(used, "daily")
    rows = rows_of(usage, used)
    roll_up(usage, used)
    assert usage.query("SELECT sum(requests)::bigint AS n FROM daily_usage_rollups WHERE project_id = %s", used.project.id) == [{"n": len(rows)}]
    after = get(used, "summary"), get(used, "daily")
    assert before == after
    summary, daily = after
    assert set(summary) == {"object", "period", "slo_budgets", *COUNTS, *TIMES, "token_cost", "hourly_cost", "total_cost", "currency", "cache_savings"}
    assert [summary[name] for name in COUNTS] == [5, 0, 1, 4000, 4 * 333, 1600, 4000 + 4 * 333]
    assert nano(summary["token_cost"]) == nano(summary["total_cost"]) == sum(row["cost_nano"] for row in rows) > 0
    assert nano(summary["hourly_cost"]) == 0 and summary["currency"] == "USD" and summary["slo_budgets"] == []
    # A token of the cache costs a quarter; flex costs three quarters.
    assert abs(nano(summary["cache_savings"]) - (3 * 400 + 400 * 0.75) * 1000 * 0.75) <= 2
    assert {(line["id"], line["day"]) for line in daily["data"]} == {(today(), today())}
    line = daily["data"][0]
    assert set(line) == {"object", "id", "day", "cost", *COUNTS, *TIMES} and line["object"] == "usage.day"
    assert {name: line[name] for name in COUNTS + TIMES} == {name: summary[name] for name in COUNTS + TIMES}
    assert line["cost"] == summary["token_cost"]


def test_the_requests_of_a_day_sum_to_the_day_and_to_what_the_ledger_took(used, usage, ledger):
    roll_up(usage, used)
    query = {"from": today(), "to": today()}
    requests = get(used, "requests", limit=100, **query)["data"]
    cost = sum(nano(each["cost"]) for each in requests)
    assert cost == sum(nano(line["cost"]) for line in get(used, "daily", **query)["data"])
    assert cost == sum(each["nano"] for each in ledger.settled(used.project.id)) > 0
    assert billing("verify", "--day", today()).splitlines()[-1] == "ok"


def test_rolling_up_again_changes_nothing(used, usage):
    roll_up(usage, used)

    def kept():
        return usage.query("SELECT * FROM daily_usage_rollups WHERE project_id = %s ORDER BY 2, 3, 4, 5, 6, 7, 8", used.project.id)

    before = kept()
    assert len(before) == 2
    billing("rollup")
    assert f"{today()}: nothing changed" in billing("rollup", "--day", today()) or kept() == before
    assert kept() == before
    assert {row["revision"] for row in before} == {1}


def test_a_period_is_a_block_of_730_hours_since_the_project_was_made(used, usage):
    made = int(usage.query("SELECT floor(extract(epoch FROM created_at))::bigint AS at FROM projects WHERE id = %s", used.project.id)[0]["at"])
    assert get(used, "summary")["period"] == {"type": "current", "start": made, "end": made + BLOCK}
    previous = get(used, "summary", period="previous")
    assert previous["period"] == {"type": "previous", "start": made - BLOCK, "end": made} and previous["requests"] == 0
    # A project that is older than a block.
    usage.query("UPDATE projects SET created_at = created_at - make_interval(hours => 800) WHERE id = %s RETURNING 1", used.project.id)
    assert get(used, "summary")["period"]["start"] == made - 800 * 3600 + BLOCK
    assert get(used, "summary")["requests"] == 4
    assert get(used, "summary", period="previous")["requests"] == 0


def test_a_custom_summary_counts_to_the_second(used, usage):
    rows = rows_of(usage, used)
    roll_up(usage, used)
    middle = int(rows[1]["created_at"].timestamp()) + 1
    early = get(used, "summary", period="custom", to=middle, **{"from": today()})
    late = get(used, "summary", period="custom", **{"from": middle})
    assert early["requests"] == sum(row["created_at"].timestamp() < middle for row in rows)
    assert early["requests"] + late["requests"] == 4
    assert nano(early["token_cost"]) + nano(late["token_cost"]) == sum(row["cost_nano"] for row in rows)


def test_days_are_grouped(used, usage):
    roll_up(usage, used)
    expected = {
        "endpoint": ("endpoint", {"talk": 4}), "model": ("model", {"served-model": 4}), "key": ("api_key_id", {used.key.id: 4}),
        "surface": ("surface", {"chat": 4}), "service_tier": ("service_tier", {"default": 3, "flex": 1}),
    }
    for group, (name, counts) in expected.items():
        lines = get(used, "daily", group_by=group)["data"]
        assert {line[name]: line["requests"] for line in lines} == counts
        assert {line["id"] for line in lines} == {f"{today()}:{label}" for label in counts}
    lines = get(used, "daily", group_by="service_tier", limit=1)
    assert lines["has_more"] is True
    rest = get(used, "daily", group_by="service_tier", after=lines["last_id"])
    assert [line["service_tier"] for line in lines["data"] + rest["data"]] == ["default", "flex"] and rest["has_more"] is False


def test_requests_are_listed_newest_first_and_paged(used, usage):
    rows = rows_of(usage, used)
    whole = get(used, "requests")
    assert [each["request_id"] for each in whole["data"]] == [row["request_id"] for row in rows][::-1]
    first = whole["data"][0]
    assert list(first) == ["object", *REQUEST]
    row = rows[-1]
    assert (first["object"], first["endpoint"], first["endpoint_status"], first["status"], first["fault"]) == ("usage.request", "talk", "active", 502, "agent")
    assert first["created_at"] == int(row["created_at"].timestamp()) and first["cost"] == "0.000000000"
    found, query = [], {"limit": 3}
    while True:
        page = get(used, "requests", **query)
        found += page["data"]
        if not page["has_more"]:
            break
        query["after"] = page["last_id"]
    assert found == whole["data"] and len(found) == 4
    assert get(used, "requests", order="asc")["data"] == found[::-1]
    assert get(used, "requests", limit=2, before=found[3]["id"])["data"] == found[1:3]


def test_requests_are_filtered(used, usage, make_tenant):
    def ids(**query) -> list:
        return [each["id"] for each in get(used, "requests", **query)["data"]]

    other = make_tenant(used.project, slug="other", model="other-model")
    there = other.chat(script={"text": "x", "first_delay_ms": 400}).headers["x-request-id"]
    everything = ids()
    assert len(everything) == 5
    assert ids(endpoint="other") == ids(endpoint=other.endpoint.id) == ids(key=other.key.id) == ids(model="other-model") == [there]
    assert ids(min_latency_ms=400) == [there] and ids(min_latency_ms=60_000) == []
    assert len(ids(status=502)) == len(ids(status="5xx")) == 1 and len(ids(status="2xx")) == 4
    assert ids(endpoint="none-such") == [] and ids(model="none") == []
    assert ids(**{"from": int(time.time()) + 60}) == [] and ids(to=today(), **{"from": today()}) == everything
    assert len(ids(endpoint="talk", status=200, key=used.key.id)) == 3


def test_one_request_tells_how_it_was_routed(used, usage):
    row = rows_of(usage, used)[0]
    answer = get(used, f"requests/{row['request_id']}")
    assert list(answer) == ["object", *REQUEST, *ROUTING]
    assert answer["worker_id"] == f"upstream:{used.endpoint.id}" and answer["retries"] == 0
    assert answer["ledger_transaction_id"] == row["ledger_tx_id"] and nano(answer["cost"]) == row["cost_nano"]


def test_nothing_of_another_project_is_seen(used, usage, make_tenant, stack):
    stranger = make_tenant(Project.create("e2e-usage"))
    theirs = rows_of(usage, used)[0]["request_id"]
    for path in ("daily", "requests"):
        assert get(stranger, path)["data"] == []
    assert get(stranger, "summary")["requests"] == 0
    expect_error(stranger.caller.get(f"/v1/usage/requests/{theirs}"), 404, "not_found")
    expect_error(stranger.caller.get("/v1/usage/requests", params={"after": theirs}), 400, "invalid_cursor", param="after")
    assert get(stranger, "requests", endpoint=used.endpoint.id, key=used.key.id)["data"] == []
    expect_error(stranger.caller.get(f"/{used.project.slug}/v1/usage/summary"), 403, "cross_project_access")


def test_a_pinned_key_sees_its_endpoint_alone(used, make_tenant, stack):
    make_tenant(used.project, slug="other").chat(script={"text": "x"})
    pinned = Caller(stack.origin, used.project.key(endpoint="other").key)
    assert pinned.get("/v1/usage/summary").json()["requests"] == 1
    assert [line["endpoint"] for line in pinned.get("/v1/usage/daily", params={"group_by": "endpoint"}).json()["data"]] == ["other"]
    listed = pinned.get("/v1/usage/requests").json()["data"]
    assert [each["endpoint"] for each in listed] == ["other"]
    whole = get(used, "requests")["data"]
    hidden = next(each["id"] for each in whole if each["endpoint"] == "talk")
    expect_error(pinned.get(f"/v1/usage/requests/{hidden}"), 404, "not_found")


def test_usage_of_a_deleted_endpoint_stays_and_is_shown_as_deleted(used, usage):
    roll_up(usage, used)
    usage.query("UPDATE endpoints SET status = 'deleted', deleted_at = now() WHERE id = %s RETURNING 1", used.endpoint.id)
    requests = get(used, "requests")["data"]
    assert len(requests) == 4 and {(each["endpoint"], each["endpoint_status"]) for each in requests} == {("talk", "Deleted")}
    assert get(used, f"requests/{requests[0]['id']}")["endpoint_status"] == "Deleted"
    lines = get(used, "daily", group_by="endpoint")["data"]
    assert [(line["endpoint"], line["endpoint_status"], line["requests"]) for line in lines] == [("talk", "Deleted", 4)]
    assert get(used, "summary")["requests"] == 4


@pytest.mark.parametrize("how", [{"params": {"format": "csv"}}, {"headers": {"Accept": "text/csv"}}, {"headers": {"Accept": "application/json;q=0.5, text/csv"}}])
def test_csv_has_the_same_columns(used, how):
    for path in ("summary", "daily", "requests"):
        answer = used.caller.get(f"/v1/usage/{path}", **how)
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/csv")
        assert answer.headers["x-has-more"] == "false" and f"usage-{path}.csv" in answer.headers["content-disposition"]
        lines = list(csv.DictReader(io.StringIO(answer.text, newline="")))
        expected = get(used, path)
        if path == "summary":
            period = expected.pop("period")
            expected |= {"period": period["type"], "period_start": period["start"], "period_end": period["end"]}
            expected.pop("slo_budgets")
        items = expected["data"] if path != "summary" else [expected]
        shown = [{name: "" if value is None else str(value).lower() if isinstance(value, bool) else str(value) for name, value in item.items() if name != "object"} for item in items]
        assert lines == shown
    request_id = get(used, "requests")["data"][0]["id"]
    one = list(csv.reader(io.StringIO(used.caller.get(f"/v1/usage/requests/{request_id}", **how).text)))
    assert one[0] == [*REQUEST, *ROUTING] and len(one) == 2


def test_json_is_the_usual_answer(used):
    for accept in ("*/*", "text/csv, application/json", "text/csv;q=0.1, */*", "text/html"):
        answer = used.caller.get("/v1/usage/summary", headers={"Accept": accept})
        assert answer.headers["content-type"].startswith("application/json")
    empty = used.caller.get("/v1/usage/requests", params={"format": "csv", "endpoint": "none"})
    assert empty.text == ",".join(REQUEST) + "\r\n"


def test_csv_disarms_formulas(used, usage):
    """Names are copied into rows, whoever chose them."""
    names = ['=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)", "plain, with \"quotes\""]
    for name in names:
        usage.query(
            "INSERT INTO usage_events SELECT (u.event).* FROM (SELECT jsonb_populate_record(NULL::usage_events, to_jsonb(e) || "
            "jsonb_build_object('id', 'req_' || left(md5(%s || e.id), 24), 'request_id', 'req_' || left(md5(%s || e.id), 24), 'model_name', %s::text)) AS event "
            "FROM usage_events e WHERE project_id = %s AND cost_nano = 0 LIMIT 1) u RETURNING 1", name, name, name, used.project.id)
    text = used.caller.get("/v1/usage/requests", params={"format": "csv"}).text
    cells = {line["model"] for line in csv.DictReader(io.StringIO(text, newline=""))}
    assert cells == {"'" + names[0], "'+1", "'-1", "'@SUM(A1)", names[4], "served-model"}
    assert get(used, "requests", model=names[0])["data"][0]["model"] == names[0]


def test_a_file_has_more_lines_than_a_page(used):
    answer = used.caller.get("/v1/usage/requests", params={"format": "csv", "limit": 3})
    assert answer.headers["x-has-more"] == "true"
    last = list(csv.DictReader(io.StringIO(answer.text)))[-1]["id"]
    rest = used.caller.get("/v1/usage/requests", params={"format": "csv", "limit": 10_000, "after": last})
    assert len(rest.text.splitlines()) == 2


BAD = [
    ("summary", {"period": "next"}, "period"), ("summary", {"from": "2026-11-01"}, "from"), ("summary", {"period": "custom", "from": "soon"}, "from"),
    ("summary", {"period": "custom", "from": "2026-02-30"}, "from"), ("summary", {"period": "custom", "from": 10, "to": 5}, "to"),
    ("summary", {"period": "custom", "from": 1, "to": 2}, "from"), ("summary", {"period": "custom", "from": "2020-01-01"}, "from"),
    ("summary", {"limit": 5}, "limit"), ("summary", {"format": "xml"}, "format"),
    ("daily", {"from": "2025-01-01", "to": "2026-11-01"}, "from"), ("daily", {"to": "2026-11-01", "from": "2026-11-02"}, "to"),
    ("daily", {"group_by": "user"}, "group_by"), ("daily", {"limit": 1001}, "limit"), ("daily", {"endpoint": "x"}, "endpoint"),
    ("daily", {"order": "up"}, "order"),
    ("requests", {"status": "99"}, "status"), ("requests", {"status": "6xx"}, "status"), ("requests", {"status": "ok"}, "status"),
    ("requests", {"min_latency_ms": "-1"}, "min_latency_ms"), ("requests", {"min_latency_ms": "1.5"}, "min_latency_ms"),
    ("requests", {"key": "key_x"}, "key"), ("requests", {"endpoint": "Not A Slug"}, "endpoint"), ("requests", {"model": ""}, "model"),
    ("requests", {"model": "a\0b"}, "model"), ("requests", {"model": "x" * 129}, "model"), ("requests", {"limit": 101}, "limit"),
    ("requests", {"from": "2026-11-02", "to": "2026-11-01"}, "to"), ("requests", {"from": "now"}, "from"), ("requests", {"endpint": "talk"}, "endpint"), ("requests/req_000000000000000000000000", {"x": 1}, "x"),
]


@pytest.mark.parametrize("path,query,param", BAD)
def test_bad_queries_name_the_parameter(tenant, path, query, param):
    expect_error(tenant.caller.get(f"/v1/usage/{path}", params=query), 400, "invalid_value", param=param)


def test_a_parameter_that_stands_twice_is_refused(tenant):
    expect_error(tenant.caller.get("/v1/usage/requests?status=200&status=500"), 400, "invalid_value", param="status")
    expect_error(tenant.caller.get("/v1/usage/summary?period=custom"), 400, "missing_required_parameter", param="from")


@pytest.mark.parametrize("cursor", ["req_x", "req_000000000000000000000000", "req_000000000000000000000000.", "a\0", "'; --"])
def test_what_is_no_request_is_no_cursor(tenant, cursor):
    expect_error(tenant.caller.get("/v1/usage/requests", params={"before": cursor}), 400, "invalid_cursor", param="before")


@pytest.mark.parametrize("cursor", ["2026-11-25:x", "yesterday", "2026-11-31", ""])
def test_what_is_no_line_is_no_cursor(tenant, cursor):
    expect_error(tenant.caller.get("/v1/usage/daily", params={"after": cursor}), 400, "invalid_cursor", param="after")


@pytest.mark.parametrize("request_id", ["req_000000000000000000000000", "nonsense", secrets.token_hex(200)])
def test_an_unknown_request_is_not_found(tenant, request_id):
    expect_error(tenant.caller.get(f"/v1/usage/requests/{request_id}"), 404, "not_found")


def test_usage_needs_the_inference_scope(tenant, stack):
    manager = Caller(stack.origin, tenant.project.key(scopes="management").key)
    for path in ("summary", "daily", "requests", "requests/req_000000000000000000000000"):
        expect_error(manager.get(f"/v1/usage/{path}"), 403, "scope_insufficient")
        expect_error(tenant.caller.get(f"/v1/usage/{path}", key=None), 401, "authentication_error")
    assert tenant.caller.get(f"/{tenant.project.id}/v1/usage/summary").status_code == 200
    expect_error(tenant.caller.get(f"/{tenant.project.slug}/{tenant.endpoint.slug}/v1/usage/summary"), 404, "not_found")
