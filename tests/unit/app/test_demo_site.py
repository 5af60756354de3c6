"""The demo's own site is one an operator could have written, and its expectations are the packs' own."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path

import pytest

from sekisho.app import demo_site
from sekisho.app.demo_site import BOTH, C2_LIST, CHILD_ABUSE_LIST, CUSTOMERS, GUNMA_ALONE, NBNET_ALONE, STRANGER, UNCONSENTED, write_site
from sekisho.drivers.site import Site, load_site
from sekisho.terms.entitlement import entitle, profile_of
from support import free_port


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Site:
    folder: Path = tmp_path_factory.mktemp("demo")
    return load_site(write_site(folder, folder / "runtime", free_port()).config)


def reached(site: Site, customer: demo_site.DemoCustomer) -> set[str]:
    """Of the two lists the demo is about, those enforced for a customer who opted out of none."""
    person = site.customers.get(customer.id)
    assert person is not None
    mask = entitle(profile_of(site.packs, person.terms, site.lists), site.lists, person, ()).mask
    return {one.id for one in site.lists if mask >> one.order & 1} & {C2_LIST, CHILD_ABUSE_LIST}


def test_it_is_accepted_without_a_fault_or_a_warning(site: Site) -> None:
    assert site.warnings == ()
    assert len(site.customers) == len(CUSTOMERS)


def test_the_sealed_list_is_the_child_abuse_one(site: Site) -> None:
    assert {one.id for one in site.lists if one.sealed} == {CHILD_ABUSE_LIST}


def test_no_clause_no_measure(site: Site) -> None:
    assert reached(site, BOTH) == {C2_LIST, CHILD_ABUSE_LIST}
    assert reached(site, GUNMA_ALONE) == {C2_LIST}
    assert reached(site, NBNET_ALONE) == {CHILD_ABUSE_LIST}


def test_without_consent_the_c2_clause_does_not_reach_a_customer(site: Site) -> None:
    assert reached(site, UNCONSENTED) == {CHILD_ABUSE_LIST}


def test_everybody_has_an_address_of_this_machine() -> None:
    addresses = {one.address for one in CUSTOMERS} | {STRANGER}
    assert len(addresses) == len(CUSTOMERS) + 1
    assert all(ipaddress.ip_address(one).is_loopback for one in addresses)


def test_a_taken_port_is_replaced_by_a_free_one() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        wanted = other.getsockname()[1]
        assert demo_site.choose_port("127.0.0.1", wanted) != wanted
    assert demo_site.choose_port("127.0.0.1", wanted) == wanted
    assert demo_site.choose_port("127.0.0.1", wanted, (wanted,)) != wanted
