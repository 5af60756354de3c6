"""Roles on the API: what each may ask, who is told what, and what the log says of it."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import os
import socket
import subprocess
import sys

import pytest
from structlog.testing import capture_logs

from sekisho.api import server as api_server
from sekisho.api.application import application
from sekisho.api.bounded import CONNECTIONS
from sekisho.api.operations import Operations
from sekisho.api.peers import caller_of, supplementary
from sekisho.api.routes import ROUTES, ApiRoute
from sekisho.api.server import listen, mode_for
from sekisho.model.errors import RefusedError
from sekisho.model.roles import Caller, Members, Role, Roles
from unit.api.serving import FakeOperations, ask, connect, request_for, serving

DAEMON, VIEWER, OPERATOR, STRANGER = 900, 1001, 1002, 1003
ROLES = Roles(DAEMON, Members(frozenset({VIEWER}), frozenset({70})), Members(frozenset({OPERATOR}), frozenset({80})))


def caller(uid, *groups):
    return Caller(1, uid, frozenset(groups), f"u{uid}")


@pytest.fixture
def as_caller(monkeypatch):
    """Make whoever connects someone else."""

    def become(uid, *groups):
        monkeypatch.setattr(api_server, "caller_of", lambda _connection: caller(uid, *groups))

    return become


# --- Who has which role ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "role"),
    [
        (caller(0), Role.OPERATOR),
        (caller(DAEMON), Role.OPERATOR),
        (caller(OPERATOR, 5), Role.OPERATOR),
        (caller(STRANGER, 5, 80), Role.OPERATOR),
        (caller(STRANGER, 5, 70, 80), Role.OPERATOR),
        (caller(VIEWER), Role.VIEWER),
        (caller(STRANGER, 5, 70), Role.VIEWER),
        (caller(STRANGER, 5), None),
        (caller(70), None),
        (caller(STRANGER, 0, DAEMON, VIEWER, OPERATOR), None),
    ],
)
def test_the_highest_role_of_user_and_groups_counts(who, role):
    assert ROLES.of(who) is role


def test_nobody_but_root_and_the_daemon_has_a_role_unless_it_is_given():
    roles = Roles(DAEMON)
    assert [roles.of(caller(uid, 0, DAEMON)) for uid in (0, DAEMON, STRANGER)] == [Role.OPERATOR, Role.OPERATOR, None]


def test_the_socket_lets_in_nobody_without_need(tmp_path):
    path = tmp_path / "sekishod.sock"
    for roles, mode in ((Roles(DAEMON), 0o600), (ROLES, 0o666), (Roles(DAEMON, viewers=Members(groups=frozenset({70}))), 0o666)):
        opened = listen(path, mode_for(roles))
        assert path.stat().st_mode & 0o777 == mode
        opened.close()


# --- What each route needs -------------------------------------------------------------------------------


def test_every_route_states_its_role_and_none_can_be_written_without():
    assert all(isinstance(route, ApiRoute) and isinstance(route.role, Role) for route in ROUTES)
    with pytest.raises(TypeError):
        ApiRoute("GET", "/v1/status", endpoint=ROUTES[0].endpoint)  # type: ignore[call-arg]


def test_every_path_the_application_serves_is_in_the_table_of_roles():
    served = {(method, route.path) for route in application(FakeOperations(), lambda: ROLES).routes for method in route.methods} - {
        ("HEAD", route.path) for route in ROUTES
    }
    assert served == {(route.method, route.path) for route in ROUTES}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_what_changes_something_needs_an_operator_and_is_handed_who_asked(tmp_path, route):
    operations = FakeOperations()
    ask(tmp_path, [request_for(route)], operations)
    [(name, _, given)] = operations.calls
    # Who asks whose an address was is on the record, and may be a viewer.
    recorded = route.role is Role.OPERATOR or route.path == "/v1/sessions/at"
    assert recorded == ("actor" in given) == ("actor" in inspect.signature(getattr(Operations, name)).parameters)
    # GET changes nothing (RFC 9110, 9.2.1); what else changes nothing is named here.
    assert (route.role is Role.VIEWER) == (route.method == "GET" or route.path in {"/v1/explain", "/v1/sessions/at"})


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
@pytest.mark.parametrize("has", [None, Role.VIEWER, Role.OPERATOR], ids=str)
def test_a_route_is_open_to_its_role_and_those_above(tmp_path, as_caller, route, has):
    as_caller({None: STRANGER, Role.VIEWER: VIEWER, Role.OPERATOR: OPERATOR}[has])
    operations = FakeOperations()
    [response] = ask(tmp_path, [request_for(route)], operations, ROLES)
    allowed = has is not None and has >= route.role
    assert response.status_code == (200 if allowed else 403)
    assert bool(operations.calls) == allowed


def test_the_method_head_needs_what_get_does(tmp_path, as_caller):
    as_caller(STRANGER)
    [response] = ask(tmp_path, [("HEAD", "/v1/status", {})], roles=ROLES)
    assert response.status_code == 403


@pytest.mark.parametrize(("uid", "has"), [(VIEWER, "the role viewer"), (STRANGER, "no role")])
def test_who_is_refused_is_told_which_role_is_needed_and_how_to_get_it(tmp_path, as_caller, uid, has):
    as_caller(uid)
    [response] = ask(tmp_path, [("POST", "/v1/reload", {})], roles=ROLES)
    body = response.json()
    assert body["error"] == f"this needs the role operator, and uid:{uid}(u{uid}) has {has}"
    assert "under roles.operator in sekisho.yaml" in body["hint"]


def test_the_role_is_judged_before_the_request_is_read(tmp_path, as_caller):
    as_caller(STRANGER)
    [response] = ask(tmp_path, [("POST", "/v1/optouts", {"content": b"{"})], roles=ROLES)
    assert response.status_code == 403


def test_changed_roles_hold_from_the_next_request_on_the_same_connection(tmp_path, as_caller):
    as_caller(VIEWER)
    roles = [ROLES]

    async def scenario():
        path = tmp_path / "sekishod.sock"
        async with (
            serving(application(FakeOperations(), lambda: roles[0]), listen(path)),
            connect(path, max_connections=1) as client,
        ):
            first = await client.post("/v1/reload")
            roles[0] = dataclasses.replace(ROLES, operators=Members(frozenset({VIEWER})))
            second = await client.post("/v1/reload")
            roles[0] = Roles(DAEMON)
            return [first, second, await client.get("/v1/status")]

    assert [response.status_code for response in asyncio.run(scenario())] == [403, 200, 403]


# --- Who it was ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.role is Role.OPERATOR], ids=lambda route: f"{route.method} {route.path}"
)
@pytest.mark.parametrize(
    ("error", "status"), [(None, 200), (RefusedError("no; do so"), 409), (KeyError("x"), 500)], ids=["done", "refused", "failed"]
)
def test_every_act_is_in_the_log_with_who_asked(tmp_path, as_caller, route, error, status):
    as_caller(OPERATOR)
    with capture_logs() as logs:
        ask(tmp_path, [request_for(route)], FakeOperations(error), ROLES)
    [act] = [line for line in logs if line["event"] == "act"]
    assert (act["actor"], act["route"], act["status"]) == ("uid:1002(u1002)", f"{route.method} {route.path}", status)
    assert "www.example.com" not in repr(logs)


def test_what_is_forbidden_is_in_the_log_and_what_is_read_is_not(tmp_path, as_caller):
    as_caller(VIEWER)
    with capture_logs() as logs:
        ask(tmp_path, [("GET", "/v1/status", {}), ("POST", "/v1/reload", {})], roles=ROLES)
    assert [(line["event"], line["actor"], line["needs"]) for line in logs] == [("forbidden", "uid:1001(u1001)", "operator")]


def test_one_user_cannot_keep_the_others_out(tmp_path, as_caller):
    path = tmp_path / "sekishod.sock"

    async def scenario():
        async with serving(application(FakeOperations(), lambda: ROLES), listen(path, 0o600)):
            as_caller(STRANGER)
            held = [await asyncio.open_unix_connection(str(path)) for _ in range(CONNECTIONS + 10)]
            # A connection that is not served is closed by the daemon; the rest wait for a request.
            closed = [await asyncio.wait_for(reader.read(1), 60) for reader, _ in held[CONNECTIONS:]]
            waiting = [reader.at_eof() for reader, _ in held[:CONNECTIONS]]
            as_caller(OPERATOR)
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
            line = await asyncio.wait_for(reader.readline(), 60)
            for _, one in [*held, (reader, writer)]:
                one.close()
            return closed, waiting, line

    closed, waiting, line = asyncio.run(scenario())
    assert closed == [b""] * 10
    assert not any(waiting)
    assert b"200" in line


def test_the_kernel_says_who_is_at_the_other_end():
    here, there = socket.socketpair(socket.AF_UNIX)
    with here, there:
        found = caller_of(here)
    assert (found.uid, found.pid) == (os.getuid(), os.getpid())
    assert found.groups == {os.getgid(), *os.getgroups()}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a process with groups of one's choice; run as root")
def test_supplementary_groups_are_known_however_many(tmp_path):
    groups = list(range(50_000, 50_700))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        script = "import os, socket, sys; os.setgroups(range(50_000, 50_700)); os.setgid(4712); os.setuid(4711); s.connect(sys.argv[1]); s.recv(1)"
        # It opens the folder before it gives its rights away, since nobody else passes through it.
        script = script.replace("os.setgroups", "os.chdir(sys.argv[1]); s = socket.socket(socket.AF_UNIX); os.setgroups", 1).replace(
            "s.connect(sys.argv[1])", "s.connect('s')"
        )
        (tmp_path / "s").chmod(0o666)
        tmp_path.chmod(0o755)
        with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)]) as child:
            connection, _ = listening.accept()
            with connection:
                found = caller_of(connection)
                assert sorted(supplementary(connection.fileno())) == groups
        assert child.returncode == 0
    assert (found.uid, found.groups) == (4711, frozenset({4712, *groups}))
    assert found.actor == "uid:4711"
