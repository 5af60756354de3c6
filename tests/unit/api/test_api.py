"""The API over its Unix socket: who calls, what is refused, and what is never said."""

from __future__ import annotations

import os
import pwd
import socket

import pytest
from structlog.testing import capture_logs

from sekisho.api.application import error_body
from sekisho.api.routes import ROUTES
from sekisho.api.server import listen
from sekisho.model.errors import ConfigError, Fault, FeedError, LedgerError, RefusedError, UnavailableError
from unit.api.serving import FakeOperations, ask, request_for

MARK = "mark-7f3a.example"


def test_the_caller_is_who_the_kernel_says(tmp_path):
    operations = FakeOperations()
    body = {"customer": "c-1", "list": "c2"}
    headers = {"X-Forwarded-For": "192.0.2.1", "Forwarded": "for=192.0.2.1"}
    ask(tmp_path, [("POST", "/v1/optouts", {"json": body, "headers": headers})], operations)
    uid = os.getuid()
    (_, args, kwargs), *_ = operations.calls
    assert args == ("c-1", "c2")
    assert kwargs == {"until": None, "by": None, "actor": f"uid:{uid}({pwd.getpwuid(uid).pw_name})"}


def test_a_socket_left_behind_is_replaced(tmp_path):
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "sekishod.sock"))
    left.close()
    [response] = ask(tmp_path, [("GET", "/v1/status", {})])
    assert response.json() == {"operation": "status"}
    assert [path.name for path in tmp_path.iterdir()] == ["sekishod.sock"]


def test_a_folder_that_cannot_be_used_is_told(tmp_path):
    with pytest.raises(UnavailableError, match="cannot be made"):
        listen(tmp_path / "missing" / "sekishod.sock")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RefusedError("no such customer; add it"), 409),
        (FeedError("no route; try again"), 502),
        (LedgerError("disk full; make room"), 503),
        (UnavailableError("away; start it"), 503),
    ],
)
def test_refusals_say_what_is_wrong_and_what_to_do(tmp_path, error, status):
    [response] = ask(tmp_path, [("GET", "/v1/status", {})], FakeOperations(error))
    wrong, _, hint = str(error).partition("; ")
    assert (response.status_code, response.json()) == (status, {"error": wrong, "hint": hint})


def test_every_fault_of_a_configuration_is_told_at_once():
    body = error_body(ConfigError([Fault("b.yaml", 2, "second"), Fault("a.yaml", 1, "first", "lists")]))
    assert body["error"] == "2 faults were found"
    assert body["faults"][0] == {"file": "a.yaml", "line": 1, "path": "lists", "message": "first"}


@pytest.mark.parametrize(
    ("method", "target", "more"),
    [
        ("POST", "/v1/optouts", {"json": {"customer": "c-1"}}),
        ("POST", "/v1/optouts", {"json": {"customer": "c-1", "list": 7}}),
        ("POST", "/v1/optouts", {"json": {"customer": "c-1", "list": "c2", "untill": 3}}),
        ("POST", "/v1/optouts", {"json": {"customer": "c-1", "list": "c2", "until": "soon"}}),
        ("POST", "/v1/optouts", {"json": {"customer": "c-1", "list": "c2", "until": True}}),
        ("POST", "/v1/optouts", {"content": b'["c-1"]'}),
        ("POST", "/v1/optouts", {"content": b"{"}),
        ("POST", "/v1/optouts", {"content": b"[" * 100_000}),
        ("POST", "/v1/optouts", {"content": b" " * (1 << 20) + b"{}"}),
        ("POST", "/v1/explain", {"json": {"name": MARK}}),
        ("POST", "/v1/explain", {"json": {"name": MARK, "customer": "c-1", "address": "192.0.2.1"}}),
        ("POST", "/v1/explain", {"json": {"name": MARK, "customer": "c-1", "port": 70_000}}),
        ("GET", "/v1/events?limit=0", {}),
        ("GET", "/v1/events?limit=many", {}),
        ("GET", "/v1/events?since=-1", {}),
        ("POST", "/v1/customers", {"json": {"record": ["c-1"]}}),
    ],
)
def test_requests_of_another_form_are_refused_with_a_sentence(tmp_path, method, target, more):
    operations = FakeOperations()
    [response] = ask(tmp_path, [(method, target, more)], operations)
    assert response.status_code == 400
    assert response.json()["hint"]
    assert MARK not in response.text
    assert operations.calls == []


def test_unknown_routes_and_methods_answer_in_json(tmp_path):
    answers = ask(tmp_path, [("GET", "/v2/status", {}), ("PUT", "/v1/status", {})])
    assert [answer.status_code for answer in answers] == [404, 405]
    assert all(answer.json()["error"] for answer in answers)


def test_an_unforeseen_error_says_where_and_never_what(tmp_path):
    with capture_logs() as logs:
        [response] = ask(tmp_path, [("GET", "/v1/status", {})], FakeOperations(KeyError(MARK)))
    assert response.status_code == 500
    assert MARK not in response.text
    assert logs[0]["event"] == "api-failed"
    assert logs[0]["error"] == "KeyError"
    assert MARK not in repr(logs)


def test_a_name_that_is_asked_about_is_in_no_log_whatever_the_level(tmp_path, caplog, capfd):
    with caplog.at_level(0), capture_logs() as logs:
        ask(tmp_path, [("POST", "/v1/explain", {"json": {"name": MARK, "customer": "c-1"}})])
    out = capfd.readouterr()
    assert MARK not in repr(logs) + out.out + out.err
    # httpx, the test's own client, logs too, and its lines name no body.
    assert MARK not in caplog.text


def test_every_route_is_reached(tmp_path):
    operations = FakeOperations()
    answers = ask(tmp_path, [request_for(route) for route in ROUTES], operations)
    assert [answer.status_code for answer in answers] == [200] * len(ROUTES)
    assert len({name for name, _, _ in operations.calls}) == len(ROUTES)
