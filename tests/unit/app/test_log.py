"""Logs carry no queried name, whoever logs it and at whatever level (secrecy: gunma/29, nbnet/42)."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from sekisho.drivers.log import DENIED, configure

MARK = "mark-7f3a.example"


@pytest.fixture
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("field", sorted(DENIED))
def test_a_field_that_could_carry_a_name_is_withheld_at_every_depth(form, field: str) -> None:
    out = io.StringIO()
    configure("debug", form, out)
    structlog.get_logger().debug("a query came", **{field: MARK, "detail": {field.upper(): MARK}}, list="c2")
    assert MARK not in out.getvalue()
    assert "c2" in out.getvalue()


@pytest.mark.usefixtures("restored")
def test_json_lines_carry_level_time_and_fields() -> None:
    out = io.StringIO()
    configure("info", "json", out)
    structlog.get_logger().info("list taken", list="c2", entries=7)
    structlog.get_logger().debug("not shown at this level")
    (line,) = out.getvalue().splitlines()
    event = json.loads(line)
    assert event.pop("timestamp").endswith("Z")
    assert event == {"event": "list taken", "level": "info", "list": "c2", "entries": 7}


@pytest.mark.usefixtures("restored")
def test_libraries_are_heard_from_warnings_up_even_at_debug() -> None:
    out = io.StringIO()
    configure("debug", "json", out)
    logging.getLogger("httpx").info("HTTP Request: GET http://%s", MARK)
    logging.getLogger("asyncio").warning("slow")
    assert MARK not in out.getvalue()
    assert json.loads(out.getvalue())["event"] == "slow"


@pytest.mark.usefixtures("restored")
def test_an_unknown_level_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="unknown log level 'loud'; use one of debug, info, warning, error"):
        configure("loud")


@pytest.mark.usefixtures("restored")
def test_a_want_of_descriptors_is_told_now_and_then_and_other_faults_each_time() -> None:
    out = io.StringIO()
    configure("info", "json", out)
    told = logging.getLogger("asyncio")
    for _ in range(1000):
        told.error("socket.accept() out of system resource\nsocket: <fd=17>", exc_info=OSError(24, "Too many open files"))
        told.error("Exception in callback")
    said = [json.loads(line)["event"] for line in out.getvalue().splitlines()]
    assert len([one for one in said if one.startswith("socket.accept()")]) == 1
    assert said.count("Exception in callback") == 1000
    assert "Traceback" not in out.getvalue()
