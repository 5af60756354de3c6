"""What is known of who asked goes with the state of the query, and is nobody else's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from sekisho.plugin.checkpoint import Settings
from sekisho.plugin.judge import FORWARD
from sekisho.plugin.unbound import Plugin

NEW, PASS, MODDONE, ERROR, WAIT, FINISHED = range(6)
ROW = 7


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    """Lets every query through, as the customer in a row."""
    unbound = SimpleNamespace(
        MODULE_EVENT_NEW=NEW, MODULE_EVENT_PASS=PASS, MODULE_EVENT_MODDONE=MODDONE, MODULE_ERROR=ERROR, MODULE_WAIT_MODULE=WAIT,
        MODULE_FINISHED=FINISHED, sec_status_unchecked=0, sec_status_insecure=1, log_warn=Mock(),
    )  # fmt: skip
    one = Plugin(unbound, Settings(tmp_path, tmp_path / "key", tmp_path / "code", closed=False))
    one._checkpoint = Mock(rule=Mock(return_value=(FORWARD, b"", ROW)), watches=False)
    one._insides = Mock()
    return one


def state(*, client: bool = True, address: int = 0x1000, rcode: int = 3) -> Mock:
    """A query's state; Unbound gives the address of one that is gone to another."""
    who = SimpleNamespace(query_reply=SimpleNamespace(_addr=SimpleNamespace(raw_addr=bytes((192, 0, 2, 1)))))
    reply = SimpleNamespace(flags=0x8180 | rcode, security=1, an_numrrsets=0)
    return Mock(
        this=address, mesh_info=SimpleNamespace(reply_list=who if client else None), query_flags=0x0100,
        qinfo=SimpleNamespace(qname=b"\x01n\x07example\x00", qtype=1, qclass=1), return_msg=SimpleNamespace(rep=reply),
    )  # fmt: skip


def test_a_customers_answer_that_there_is_no_such_name_is_counted_once(plugin: Plugin) -> None:
    one, data = state(), {}
    plugin.operate(0, NEW, one, data)
    plugin.operate(0, MODDONE, one, data)
    plugin.operate(0, MODDONE, one, data)
    plugin._checkpoint.count_missing.assert_called_once_with(ROW)


def test_unbounds_own_query_at_the_place_of_one_that_was_dropped_is_not_the_customers(plugin: Plugin) -> None:
    """A query that is pushed out of a full list ends without an event: nothing of it may stay."""
    plugin.operate(0, NEW, state(), {})
    own, data = state(client=False), {}
    plugin.operate(0, NEW, own, data)
    plugin.operate(0, MODDONE, own, data)
    plugin._checkpoint.count_missing.assert_not_called()
