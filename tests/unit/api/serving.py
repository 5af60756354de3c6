"""The API on a socket of its own, over operations that do nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl

import httpx

from sekisho.api.application import application
from sekisho.api.server import PeerProtocol, listen, server
from sekisho.model.roles import Roles

BODIES = {
    "/v1/optouts": {"customer": "c", "list": "l"},
    "/v1/customers": {"record": {"id": "c"}},
    "/v1/customer": {"customer": "c"},
    "/v1/lists/accept": {"list": "l"},
    "/v1/exceptions": {"list": "l", "name": "www.example.com"},
    "/v1/backup": {"folder": "/var/lib/sekisho/backup"},
    "/v1/rpz/export": {"folder": "/var/lib/sekisho/rpz"},
    "/v1/explain": {"customer": "c", "name": "www.example.com"},
    "/v1/measures": {"customer": "c", "clause": "p/1", "reason": "r"},
    "/v1/measures/lift": {"measure": "m", "reason": "r"},
    "/v1/measures/dismiss": {"measure": "m", "reason": "r"},
    "/v1/measures/corrected": {"measure": "m", "reason": "r"},
    "/v1/measures/extend": {"measure": "m", "until": 1, "reason": "r"},
    "/v1/measures/delivered": {"measure": "m"},
    "/v1/exemptions": {"customer": "c", "clause": "p/1", "reason": "r"},
    "/v1/hold": {"reason": "r"},
    "/v1/emergency": {"until": 1, "reason": "r"},
    "DELETE /v1/emergency": {"reason": "r"},
    "/v1/outages": {"reason": "r"},
    "/v1/outages/close": {"outage": "o"},
    "/v1/interruptions": {"what": "maintenance", "since": 1, "reason": "r"},
    "/v1/notices/bounced": {"address": "c@example.com"},
    "/v1/attention/answer": {"call": "a"},
    "/v1/attention/close": {"call": "a"},
    "POST /v1/group/optouts": {"group": "g", "list": "l", "by": "c"},
    "DELETE /v1/group/optouts": {"group": "g", "list": "l", "by": "c"},
    "/v1/notice-report": {"report": "r", "lines": []},
    "/v1/sessions/at": {"address": "192.0.2.7"},
}

QUERIES = {
    "/v1/customer": "?id=c",
    "/v1/measure": "?id=c",
    "/v1/outage": "?id=c",
    "/v1/explain/measure": "?customer=c",
    "/v1/explain/line": "?customer=c",
    "/v1/usage": "?customer=c",
    "/v1/group": "?group=g",
    "/v1/rpz/config": "?resolver=bind",
}


def request_for(route):
    """A request that a route takes."""
    target = route.path + QUERIES.get(route.path, "") if route.method == "GET" else route.path
    return (
        route.method,
        target,
        {} if route.method == "GET" else {"json": BODIES.get(f"{route.method} {route.path}", BODIES.get(route.path, {}))},
    )


class FakeOperations:
    """Answers every operation with what it was asked, or raises what it was told to."""

    def __init__(self, error=None):
        self.error = error
        self.calls = []

    def __getattr__(self, name):
        async def operation(*args, **kwargs):
            self.calls.append((name, args, kwargs))
            if self.error is not None:
                raise self.error
            return {"operation": name}

        return operation


@contextlib.asynccontextmanager
async def serving(app, opened, protocol=PeerProtocol):
    """Serve `app` on a listening socket, without `serve`, which looks ten times a second whether it is to end."""
    one = server(app, protocol)
    one.config.load()
    one.lifespan = one.config.lifespan_class(one.config)
    await one.startup([opened])
    await one.on_tick(0)
    try:
        yield one
    finally:
        for listening in one.servers:
            listening.close()
        for connection in list(one.server_state.connections):
            connection.shutdown()
        async with asyncio.timeout(60):
            while one.server_state.connections:
                await asyncio.sleep(0)


def connect(path, **limits):
    """A client of the socket at `path`."""
    # There is no TLS: without a context of ours each client would read all the certificates there are.
    transport = httpx.AsyncHTTPTransport(uds=str(path), verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), limits=httpx.Limits(**limits))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60)


def ask(tmp_path, requests, operations=None, roles=None):
    """Serve on a socket, make the requests, return the responses."""

    async def scenario():
        path = tmp_path / "sekishod.sock"
        async with (
            serving(application(operations or FakeOperations(), lambda: roles or Roles(os.getuid())), listen(path)),
            connect(path) as client,
        ):
            return [await client.request(method, target, **more) for method, target, more in requests]

    return asyncio.run(scenario())
