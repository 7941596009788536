"""One project with a key and an endpoint on the scripted engine, and the short ways to call it."""

from dataclasses import dataclass

import httpx

from .calls import Caller, messages, script
from .sse import ChatStream
from .tenants import Endpoint, Key, Project


@dataclass
class Tenant:
    project: Project
    key: Key
    endpoint: Endpoint
    caller: Caller

    def using(self, endpoint: Endpoint | None = None, key: Key | None = None) -> "Tenant":
        """The same project through another endpoint, key or both."""
        key = key or self.key
        caller = Caller(str(self.caller.client.base_url), key.key)
        return Tenant(self.project, key, endpoint or self.endpoint, caller)

    def body(self, content=None, **values) -> dict:
        """A chat request: the default script unless `content` or `script=` values say otherwise."""
        said = script(**values.pop("script", {})) if content is None else content
        body = {"model": self.endpoint.slug, "messages": messages(said), **values}
        return {name: value for name, value in body.items() if value is not ...}

    def chat(self, content=None, *, path: str = "/v1/chat/completions", headers: dict | None = None, timeout: float = 60, **values) -> httpx.Response:
        return self.caller.post(path, self.body(content, **values), headers=headers, timeout=timeout)

    def stream(self, content=None, *, path: str = "/v1/chat/completions", headers: dict | None = None, timeout: float = 60, **values) -> ChatStream:
        return self.caller.stream(path, self.body(content, stream=True, **values), headers=headers, timeout=timeout)

    def try_stream(self, content=None, **values) -> ChatStream | httpx.Response:
        """A stream, or the answer of one that was refused before it began."""
        return self.caller.try_stream("/v1/chat/completions", self.body(content, stream=True, **values), timeout=60)

    def chat_raw(self, body: bytes, **values) -> httpx.Response:
        headers = {"Content-Type": "application/json", **values.pop("headers", {})}
        return self.caller.call("POST", "/v1/chat/completions", content=body, headers=headers, **values)
