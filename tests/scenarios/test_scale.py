"""A million names and a hundred thousand customers, by the files an ISP would write. No time is asserted; the bench measures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scenarios.harness import Checkpoint, Resolver, folders, running, write_site

pytestmark = pytest.mark.slow

NAMES, PEOPLE = 1_000_000, 100_000


def write_customers(path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("id,terms,consent_version,consent_at,prefixes,down_mbps,up_mbps,group,exempt,email\n")
        for number in range(PEOPLE):
            address = f"127.{64 + number // 40000}.{number // 200 % 200}.{number % 200 + 1}"
            file.write(
                f"p{number},gunma nbnet,2021-02-01,2024-04-01,{address}/32 2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::/64,,,,,\n"
            )


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkpoint]:
    lists = [
        {"id": "million", "category": "c2", "source": "million.txt", "format": "domains", "scope": "exact"},
        {"id": "sealed", "category": "child-abuse", "source": "sealed.txt", "format": "domains", "scope": "exact", "sealed": True},
    ]
    with Resolver().running() as resolver, folders(tmp_path_factory.mktemp("large")) as (folder, runtime):
        with (folder / "million.txt").open("w", encoding="ascii") as file:
            file.writelines(f"host{number}.net{number % 977}.example\n" for number in range(NAMES))
        write_customers(folder / "customers.csv")
        site = write_site(
            folder, runtime, [resolver.port], lists=lists, sources={"sealed.txt": "sealed.example\n"}, customers="customers.csv"
        )
        with running(site) as one:
            yield one


def test_every_one_of_them_is_known(large: Checkpoint) -> None:
    status = large.sekisho("status")
    assert status["customers"]["known"] == PEOPLE
    assert next(one["entries"] for one in status["lists"] if one["id"] == "million") == NAMES
    assert (large.metric("sekisho_customers"), large.metric("sekisho_list_entries", list="million")) == (PEOPLE, NAMES)


@pytest.mark.parametrize("number", [0, 1, 499_999, NAMES - 1])
def test_first_and_last_are_enforced_alike(large: Checkpoint, number: int) -> None:
    for address in ("127.64.0.1", "127.66.99.200"):
        assert large.is_blocked(address, f"host{number}.net{number % 977}.example")
        assert large.is_answered(address, f"host{number}.net{(number + 1) % 977}.example")


def test_an_opt_out_among_all_of_them_is_in_force_with_its_acknowledgement(large: Checkpoint) -> None:
    """The very next query has the other answer; nothing is built anew for it."""
    name = "host7.net7.example"
    epoch = large.sekisho("status")["daemon"]["epoch"]
    for _ in range(3):
        assert large.is_blocked("127.65.100.50", name)
        person = large.api.post("/v1/explain", address="127.65.100.50", name=name)["customer"]
        large.api.post("/v1/optouts", customer=person, list="million")
        assert large.is_answered("127.65.100.50", name)
        assert large.is_blocked("127.65.100.51", name)
        large.api.delete("/v1/optouts", customer=person, list="million")
    assert large.sekisho("status")["daemon"]["epoch"] == epoch


def test_one_over_blocked_name_of_a_million_is_let_through(large: Checkpoint) -> None:
    name = f"host500000.net{500_000 % 977}.example"
    assert large.is_blocked("127.64.0.9", name)
    assert large.sekisho("lists", "except", "million", name)["held"] is True
    assert large.is_answered("127.64.0.9", name)
    assert large.is_blocked("127.64.0.9", f"host500001.net{500_001 % 977}.example")
