"""What a page may read when nginx itself has to answer (spec 08 §3)."""

import os
import signal
import time

import pytest

from harness.calls import Caller, expect_error
from harness.cors import readable_by, readable_by_none, set_policy
from harness.together import eventually

PAGE = {"Origin": "https://app.example"}


@pytest.fixture
def shop(victim, stack):
    """An endpoint that is open to one page."""
    victim.path = f"/{victim.project.slug}/{victim.endpoint.slug}/v1/chat/completions"
    set_policy(Caller(stack.origin, victim.project.key("management").key), victim.endpoint.slug, {"allow_origins": [PAGE["Origin"]]})
    eventually(lambda: victim.chat("hi", path=victim.path, headers=PAGE).headers.get("access-control-allow-origin") == PAGE["Origin"], seconds=4)
    return victim


@pytest.fixture
def impatient_nginx(processes):
    """nginx waits a second for the gateways, in place of an hour."""
    included = processes.folder / "nginx" / "fastcgi.conf"
    patient = included.read_text()
    assert "fastcgi_read_timeout 3700s;" in patient

    def take_over(text: str):
        included.write_text(text)
        os.kill(processes.programs["nginx"], signal.SIGHUP)
        time.sleep(1)

    take_over(patient.replace("fastcgi_read_timeout 3700s;", "fastcgi_read_timeout 1s;"))
    yield
    take_over(patient)


def answers(stack, shop, **values):
    """The same call from the page, from another one and from none, over connections of their own."""
    for origin in (PAGE["Origin"], "https://evil.example", None):
        caller = Caller(stack.origin, shop.key.key)
        yield origin, caller.post(shop.path, shop.body(**values), headers={"Origin": origin} if origin else {})


@pytest.mark.short
@pytest.mark.limit(120)
def test_a_page_may_read_that_nginx_gave_up_waiting(shop, stack, impatient_nginx):
    for origin, answer in answers(stack, shop, script={"text": "late", "first_delay_ms": 4000}):
        expect_error(answer, 504, "gateway_timeout")
        readable_by(origin, answer) if origin == PAGE["Origin"] else readable_by_none(answer)


@pytest.mark.short
@pytest.mark.limit(180)
def test_a_page_may_read_that_the_gateways_are_gone_while_one_is_left_to_say_so(shop, stack, processes):
    """The other group of gateways renders what nginx has to say; with all of them gone nginx says it alone, and to no page."""
    gone = [name for name in processes.gateways if name.startswith("gateway-")]
    rest = [name for name in processes.gateways if name.startswith("platform-")]
    try:
        for name in gone:
            processes.stop(name)
        for origin, answer in answers(stack, shop):
            expect_error(answer, 503, "service_unavailable")
            readable_by(origin, answer) if origin == PAGE["Origin"] else readable_by_none(answer)
        for name in rest:
            processes.stop(name)
        for _, answer in answers(stack, shop):
            expect_error(answer, 503, "service_unavailable")
            readable_by_none(answer)
        # Errors that need no gateway stay what they are.
        large = Caller(stack.origin, shop.key.key).call("POST", shop.path, content=b" " * (21 << 20), headers={**PAGE, "Content-Type": "application/json"})
        expect_error(large, 413, "request_too_large")
        readable_by_none(large)
        preflight = Caller(stack.origin).call("OPTIONS", shop.path, headers={**PAGE, "Access-Control-Request-Method": "POST"})
        expect_error(preflight, 503, "service_unavailable")
    finally:
        for name in (*rest, *gone):
            processes.start(name)
