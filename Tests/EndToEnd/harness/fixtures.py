"""The fixtures of both suites; their conftest.py files take them in."""

import signal
import ssl

import openai
import pytest

from ScriptedEngine.process import EngineProcess

from .calls import Caller
from .ledger import LedgerRows
from .stack import Stack, engine_ports, shared_folder
from .tenant import Tenant
from .tenants import Project
from .usage import UsageRows

DEFAULT_LIMIT_S = 120


def pytest_configure(config):
    config.addinivalue_line("markers", "limit(seconds): the test may take so long (120 s otherwise)")
    config.addinivalue_line("markers", "patient: it mostly waits; make test runs all of these beside the others")
    config.addinivalue_line("markers", "short: a fault test that make test runs")
    config.addinivalue_line("markers", "long: a fault test that make faults runs")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """A test that hangs fails by name, instead of the whole run by a timeout."""
    marker = item.get_closest_marker("limit")
    seconds = marker.args[0] if marker else DEFAULT_LIMIT_S

    def too_late(*_):
        raise TimeoutError(f"{item.name} took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, too_late)
    signal.alarm(seconds)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def stack() -> Stack:
    return Stack.of_environment()


@pytest.fixture(scope="session")
def shared():
    return shared_folder()


@pytest.fixture(scope="session")
def engine_process():
    with EngineProcess(engine_ports()[:3]) as process:
        yield process


@pytest.fixture(scope="session")
def engines(engine_process) -> list:
    return engine_process.engines


@pytest.fixture
def engine(engines):
    """The first engine, behaving well before and after the test."""
    engines[0].behave_well()
    yield engines[0]
    engines[0].behave_well()


@pytest.fixture
def mortal_engine():
    """A process with the fourth engine, not running yet; the test starts, stops and kills it."""
    process = EngineProcess(engine_ports()[3:4])
    yield process
    if process.process is not None:
        process.stop()


@pytest.fixture(scope="session")
def project() -> Project:
    return Project.create("e2e")


@pytest.fixture(scope="session")
def other_project() -> Project:
    return Project.create("e2e-other")


@pytest.fixture(scope="session")
def make_tenant(stack, engines):
    def make(project: Project | None = None, upstream_url=None, **values) -> Tenant:
        project = project or Project.create("e2e")
        key = project.key()
        endpoint = project.endpoint(upstream_url or engines[0].url, **values)
        return Tenant(project, key, endpoint, Caller(stack.origin, key.key))

    return make


@pytest.fixture(scope="session")
def tenant(make_tenant, project) -> Tenant:
    """The project most tests share: an uncapped endpoint of 4,096 tokens on the first engine."""
    return make_tenant(project, slug="talk")


@pytest.fixture(scope="session")
def usage(stack) -> UsageRows:
    return UsageRows(stack.database_url)


@pytest.fixture(scope="session")
def ledger(usage) -> LedgerRows:
    return LedgerRows(usage)


@pytest.fixture(scope="session")
def sdk_http(stack):
    """What the SDK needs to trust the certificate of a development stack; all else is its own."""
    return openai.DefaultHttpxClient(verify=ssl.create_default_context(cafile=stack.ca_file))


@pytest.fixture(scope="session")
def client(stack, tenant, sdk_http) -> openai.OpenAI:
    return openai.OpenAI(base_url=stack.https_url, api_key=tenant.key.key, max_retries=0, http_client=sdk_http)
