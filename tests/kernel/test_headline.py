"""A customer's line through the real daemon: slowed to what the clause leaves, and given back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kernel.heavyuse import control, sekisho, two_lines
from scenarios.harness import Site
from support import wait_until
from support.netns import CUSTOMER, SERVER, Field, flows_freely, keeps_rate, transfer

pytestmark = pytest.mark.kernel


@pytest.fixture
def site(field: Field, tmp_path) -> Iterator[Site]:
    with two_lines(field, tmp_path, "1s", "2001:db8:0:10::/120") as one:
        yield one


def test_a_slowed_customer_has_the_promised_rate_and_gets_full_speed_back(field, site):
    with control(site) as (_, api):
        with transfer(field, CUSTOMER, SERVER, up=False) as arrived:
            assert flows_freely(arrived)
            measure = api.post("/v1/measures", customer="c-1", clause="heavy/1", reason="a test", urgent=False)
            wait_until(lambda: "5ec1:1" in field.gw("nft", "list", "ruleset"), deadline=60, what="the line in the kernel")
            assert keeps_rate(arrived, 10e6)
            (row,) = api.get("/v1/lines")["customers"]
            assert (row["customer"], row["clauses"], row["difference"], row["observed"]) == ("c-1", ["heavy/1"], [], False)
            assert row["wanted"]["rate"] == {"down": 10_000_000, "up": 5_000_000}
            said = sekisho(site, "lines", "show")
            assert "10/5 Mbit/s" in said
            assert "htb  works" in said
        with transfer(field, CUSTOMER, SERVER, up=True) as arrived:
            assert keeps_rate(arrived, 5e6)
            api.post("/v1/measures/corrected", measure=measure["id"], reason="paid by patience")
            wait_until(lambda: "5ec1:1" not in field.gw("nft", "list", "ruleset"), deadline=60, what="the line as it was")
            assert flows_freely(arrived)
    assert "sekisho" not in field.gw("nft", "list", "tables") + field.gw("tc", "qdisc") + field.gw("ip", "link")
