"""A page on another origin in a real browser (spec 08 §3). Its screenshots are kept in .run/artefacts."""

import json

import pytest

from harness.browser import Page
from harness.calls import Caller, script
from harness.cors import set_policy

WORDS = [f"word{number}" for number in range(12)]

STREAM_AND_ERRORS = """
const {url, key, limited, said} = SETTINGS;
const call = (key, body) => fetch(url, {
    method: "POST", headers: {"Content-Type": "application/json", "Authorization": "Bearer " + key}, body: JSON.stringify(body)});
const readable = async answer => ({
    status: answer.status, code: (await answer.json()).error?.code, requestID: answer.headers.get("X-Request-ID"),
    retryAfter: answer.headers.get("Retry-After"), remaining: answer.headers.get("x-ratelimit-remaining-requests"), hidden: answer.headers.get("Strict-Transport-Security")});

show("A stream: ");
const streamed = await call(key, {model: "m", stream: true, messages: [{role: "user", content: said}]});
const found = {status: streamed.status, requestID: streamed.headers.get("X-Request-ID"), worker: streamed.headers.get("X-Xerotier-Worker-ID"), arrivals: [], text: ""};
const reader = streamed.body.getReader(), decoder = new TextDecoder();
let rest = "";
for (let part; !(part = await reader.read()).done;) {
    rest += decoder.decode(part.value, {stream: true});
    found.arrivals.push(performance.now());
    const frames = rest.split("\\n\\n");
    rest = frames.pop();
    for (const data of frames.map(frame => frame.replace("data: ", ""))) {
        if (data === "[DONE]") { found.done = true; continue }
        const text = JSON.parse(data).choices[0]?.delta.content ?? "";
        found.text += text;
        show(text);
    }
}
const wrong = await readable(await call("xero_wrong_" + "x".repeat(43), {model: "m", messages: [{role: "user", content: "hi"}]}));
show("\\n\\nA wrong key: " + JSON.stringify(wrong));
const first = await call(limited, {model: "m", max_tokens: 1, messages: [{role: "user", content: "hi"}]});
const second = await readable(await call(limited, {model: "m", max_tokens: 1, messages: [{role: "user", content: "hi"}]}));
show("\\n\\nA key whose quota is used up: " + JSON.stringify(second));
report({streamed: found, wrong, first: first.status, second});
"""

CLOSED = """
const {url, key} = SETTINGS;
const found = {};
for (const [name, options] of [
    ["preflighted", {method: "POST", headers: {"Content-Type": "application/json", "Authorization": "Bearer " + key}, body: "{}"}],
    ["simple", {method: "GET"}],
]) {
    try { found[name] = (await fetch(url, options)).status } catch (error) { found[name] = error.name }
    show(name + ": " + found[name] + "\\n");
}
report(found);
"""


@pytest.fixture(scope="module")
def shop(stack, make_tenant):
    """A tenant whose endpoint serves pages with keys for browsers: pinned, of scope inference, with a quota."""
    tenant = make_tenant()
    manager = Caller(stack.origin, tenant.project.key("management").key)
    tenant.url = f"{stack.https_url.removesuffix('/v1')}/{tenant.project.slug}/{tenant.endpoint.slug}/v1/chat/completions"

    def browser_key(requests: int) -> str:
        made = manager.send("POST", "/v1/management/api-keys", {"name": "page", "scopes": ["inference"], "endpoint": tenant.endpoint.slug, "quota": {"requests": requests, "window_seconds": 60}})
        assert made.status_code == 201, made.text
        return made.json()["key"]

    tenant.settings = {"url": tenant.url, "key": browser_key(100), "limited": browser_key(1), "said": script(text=" ".join(WORDS), delay_ms=60)}
    tenant.open_to = lambda origin: set_policy(manager, tenant.endpoint.slug, {"allow_origins": [origin]})
    return tenant


def page(source: str, tenant, title: str) -> Page:
    return Page(source.replace("SETTINGS", json.dumps(tenant.settings)), title)


def test_a_page_on_another_origin_streams_a_completion_and_reads_401_and_429(stack, shop, engine):
    with page(STREAM_AND_ERRORS, shop, "An allowed page") as allowed:
        shop.open_to(allowed.origin)
        found = allowed.open(stack, "cors-allowed-page.png")
    assert "error" not in found, found
    streamed = found["streamed"]
    assert streamed["status"] == 200 and streamed["text"] == " ".join(WORDS) and streamed["done"]
    assert streamed["requestID"].startswith("req_") and streamed["worker"] == f"upstream:{shop.endpoint.id}"
    # It came in pieces, as they were made.
    assert len(streamed["arrivals"]) >= 6 and streamed["arrivals"][-1] - streamed["arrivals"][0] > 300
    assert (found["wrong"]["status"], found["wrong"]["code"]) == (401, "authentication_error") and found["wrong"]["requestID"].startswith("req_")
    assert found["first"] == 200 and (found["second"]["status"], found["second"]["code"]) == (429, "quota_exceeded")
    assert int(found["second"]["retryAfter"]) >= 1 and int(found["second"]["remaining"]) >= 0
    # What is not exposed is not there.
    assert found["wrong"]["hidden"] is None


def test_a_page_that_is_not_allowed_reads_nothing(stack, shop, engine):
    shop.open_to("https://app.example")
    with page(CLOSED, shop, "A page that is not allowed") as closed:
        assert closed.open(stack, "cors-closed-page.png") == {"preflighted": "TypeError", "simple": "TypeError"}
