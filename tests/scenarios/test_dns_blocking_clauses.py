"""The clauses on DNS blocking, each by what a customer of it can and cannot reach."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import pytest

from scenarios.conftest import C2, EXACT, IN_BOTH, SEALED, SEALED_TREES
from scenarios.harness import Checkpoint, Customer, Resolver, addresses, ede_code, soa_name

pytestmark = pytest.mark.slow

BOTH = ("gunma", "nbnet")


# --- gunma/別記: C&C servers --------------------------------------------------------------------------


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("rdtype", ["A", "AAAA", "TXT", "MX", "HTTPS", "ANY"])
def test_gunma_bekki_1_cuts_off_a_listed_name_at_once(field: Checkpoint, resolver: Resolver, rdtype: str, tcp: bool) -> None:
    """gunma/別記-1: that request is cut off, of whatever type, and nothing of it goes to the resolver."""
    customer = field.customer("gunma")
    before = resolver.asked[f"{C2[0]}."]
    answer = field.ask(customer, C2[0], rdtype, tcp=tcp)
    assert (answer.rcode(), answer.answer, ede_code(answer)) == (dns.rcode.NXDOMAIN, [], 15)
    assert soa_name(answer) is not None, "without an SOA no resolver of a customer may cache it (RFC 2308)"
    assert resolver.asked[f"{C2[0]}."] == before


def test_gunma_bekki_1_goes_by_the_name_whatever_its_case(field: Checkpoint) -> None:
    customer = field.customer("gunma")
    answer = field.ask(customer, "C1.c2.ExAmPlE")
    assert answer.rcode() == dns.rcode.NXDOMAIN
    assert answer.question[0].name.to_text() == "C1.c2.ExAmPlE."


def test_gunma_bekki_1_leaves_every_other_query_alone(field: Checkpoint) -> None:
    customer = field.customer("gunma")
    assert field.is_blocked(customer, C2[2])
    for name in ("c2.example", "xc2.c2.example", "c2.c2.example.example", "www.example.com"):
        assert field.is_answered(customer, name), name


def test_gunma_bekki_1_records_what_proves_the_measure_and_no_more(field: Checkpoint) -> None:
    customer = field.customer("gunma")
    assert field.is_blocked(customer, f"below.{C2[3]}")
    (event,) = field.events(customer)
    assert (event["customer"], event["clause"], event["list"], event["action"]) == (customer.id, "gunma/別記-1", "c2", "nxdomain")
    assert "below" not in str(event), "the entry that matched is recorded, not the name that was asked"
    assert event["name"] == C2[3]


def test_gunma_bekki_1_binds_no_customer_of_other_terms(field: Checkpoint) -> None:
    """No clause, no measure."""
    assert field.is_answered(field.customer("nbnet"), C2[4])


def test_gunma_bekki_2_without_consent_does_not_apply_and_is_counted(field: Checkpoint) -> None:
    """gunma/別記-2: the rule rests on prior consent; where none is recorded it does not reach the customer."""
    before = field.metric("sekisho_list_unconsented", list="c2"), field.metric("sekisho_customers_unconsented")
    customer = field.customer("gunma", consent=False)
    assert field.is_answered(customer, C2[5])
    after = field.metric("sekisho_list_unconsented", list="c2"), field.metric("sekisho_customers_unconsented")
    assert after == (before[0] + 1, before[1] + 1)
    explained = field.sekisho("explain", "--customer", customer.id, "--name", C2[5])
    assert explained["verdict"] == "answered"
    reason = next(one["reason"] for one in explained["lists"] if one["list"] == "c2")
    assert "no consent" in reason


def test_gunma_bekki_2_consent_given_later_brings_the_measure_into_force(field: Checkpoint) -> None:
    customer = field.customer("gunma", consent=False)
    assert field.is_answered(customer, C2[6])
    consent = ("--consent-version", "2021-02-01", "--consent-at", "2026-04-01")
    field.sekisho("customers", "add", customer.id, "--terms", "gunma", "--prefix", customer.address, *consent, "--replace")
    assert field.is_blocked(customer, C2[6])


def test_gunma_bekki_2_does_not_take_child_abuse_blocking_along(field: Checkpoint) -> None:
    customer = field.customer(*BOTH, consent=False)
    assert field.is_answered(customer, C2[7])
    assert field.is_blocked(customer, SEALED[7])


def test_gunma_bekki_3_opting_out_and_back_in_at_any_time_with_all_else_unchanged(field: Checkpoint) -> None:
    """gunma/別記-3: the very next query after the acknowledgement gets the other answer, over UDP and TCP."""
    customer, neighbour = field.customer(*BOTH), field.customer(*BOTH)
    unchanged = field.sekisho("customers", "show", customer.id)
    for _ in range(3):
        assert field.is_blocked(customer, C2[8])
        assert field.is_blocked(customer, C2[8], tcp=True)
        assert field.sekisho("optout", "add", customer.id, "c2")["in_force"] is True
        assert field.is_answered(customer, C2[8])
        assert field.is_answered(customer, C2[8], tcp=True)
        assert field.is_blocked(customer, SEALED[8])
        assert field.is_blocked(customer, EXACT[0]), "an opt-out is of one list"
        assert field.is_blocked(neighbour, C2[8])
        assert field.sekisho("optout", "remove", customer.id, "c2")["in_force"] is False
    assert field.is_blocked(customer, C2[8])
    now = field.sekisho("customers", "show", customer.id)
    assert {key: value for key, value in now.items() if key != "lists"} == {
        key: value for key, value in unchanged.items() if key != "lists"
    }
    assert [one["in_force"] for one in now["lists"]] == [one["in_force"] for one in unchanged["lists"]]


def test_gunma_bekki_3_for_who_opted_out_no_match_is_computed(field: Checkpoint) -> None:
    customer = field.customer("gunma")
    field.api.post("/v1/optouts", customer=customer.id, list="c2")
    matches = field.metric("sekisho_list_matches_total", list="c2")
    for _ in range(5):
        assert field.is_answered(customer, C2[9])
    assert field.metric("sekisho_list_matches_total", list="c2") == matches
    field.api.delete("/v1/optouts", customer=customer.id, list="c2")
    assert field.is_blocked(customer, C2[9])
    assert [one["count"] for one in field.events(customer)] == [1], "what was asked while opted out is on no record"


def test_gunma_bekki_3_is_found_in_the_explanation(field: Checkpoint) -> None:
    customer = field.customer("gunma")
    explained = field.sekisho("explain", "--customer", customer.id, "--name", C2[10])
    assert (explained["verdict"], explained["list"], explained["clause"]) == ("blocked", "c2", "gunma/別記-1")
    assert "直ちに遮断" in explained["clause_words"]["ja"]
    refused = field.sekisho("optout", "add", field.customer("nbnet").id, "c2", code=1)
    assert "nothing to opt out of" in refused["hint"]


@pytest.mark.parametrize(
    ("clause", "words"),
    [("gunma/別記-4", "責任を負わない"), ("gunma/別記-5", "完全性を保証せず"), ("nbnet/21-3", "完全に遮断することを意味するものではない")],
)
def test_gunma_bekki_4_and_5_and_nbnet_21_3_are_stated_word_for_word(field: Checkpoint, clause: str, words: str) -> None:
    """gunma/別記-4, gunma/別記-5, nbnet/21-3: no liability, no promise of completeness: the packs in force say so."""
    from sekisho.drivers.site import load_site

    found = [one for pack in load_site(field.site.config).packs.values() for one in pack.clauses if one.id == clause]
    assert [words in one.ja for one in found] == [True]
    assert found[0].en
    assert not found[0].rules, "it authorises nothing"


# --- nbnet/21: child-abuse material -------------------------------------------------------------------


@pytest.mark.parametrize("tcp", [False, True])
def test_nbnet_21_1_blocks_without_notice_and_without_consent(field: Checkpoint, resolver: Resolver, tcp: bool) -> None:
    customer = field.customer("nbnet", consent=False)
    before = resolver.asked[f"{SEALED[0]}."]
    answer = field.ask(customer, SEALED[0], tcp=tcp)
    assert (answer.rcode(), answer.answer, ede_code(answer)) == (dns.rcode.NXDOMAIN, [], 16)
    assert resolver.asked[f"{SEALED[0]}."] == before


def test_nbnet_21_1_answer_says_nothing_of_the_list(field: Checkpoint) -> None:
    customer = field.customer("nbnet")
    answer = field.ask(customer, SEALED[1])
    text = answer.to_text().replace(SEALED[1], "")
    assert "abuse" not in text
    assert "nbnet" not in text
    assert "withheldmark" not in text


@pytest.mark.parametrize("list_id", ["abuse", "abuse-trees"])
def test_nbnet_21_1_lets_nobody_opt_out(field: Checkpoint, list_id: str) -> None:
    """nbnet/21-1: there is no opt-out; it is refused by exit code 1, with the clause."""
    customer = field.customer(*BOTH)
    refusal = field.sekisho("optout", "add", customer.id, list_id, code=1)
    assert "nbnet/21-1" in refusal["error"]
    assert refusal["hint"]
    assert "nbnet/21-1" in field.say("optout", "add", customer.id, list_id, code=1)
    assert field.is_blocked(customer, SEALED[2])
    assert field.sekisho("optout", "show", customer.id)["opt_outs"] == []


def test_nbnet_21_1_binds_no_customer_of_other_terms(field: Checkpoint) -> None:
    assert field.is_answered(field.customer("gunma"), SEALED[3])


def test_nbnet_21_1_wins_where_two_clauses_cover_one_name(field: Checkpoint) -> None:
    """The mandatory rule decides, whoever opted out of the other; with the other contract alone the other one does."""
    customer = field.customer(*BOTH)
    assert ede_code(field.ask(customer, IN_BOTH)) == 16
    assert field.sekisho("explain", "--customer", customer.id, "--name", IN_BOTH)["clause"] == "nbnet/21-1"
    field.api.post("/v1/optouts", customer=customer.id, list="c2")
    assert field.is_blocked(customer, IN_BOTH)
    alone = field.customer("gunma")
    assert ede_code(field.ask(alone, IN_BOTH)) == 15
    field.api.post("/v1/optouts", customer=alone.id, list="c2")
    assert field.is_answered(alone, IN_BOTH)


def test_nbnet_21_2_an_exact_entry_is_never_widened(field: Checkpoint) -> None:
    """nbnet/21-2: no further than the measure needs."""
    customer = field.customer(*BOTH)
    for entry in (SEALED[4], EXACT[1]):
        above = entry.partition(".")[2]
        assert field.is_blocked(customer, entry)
        for name in (f"www.{entry}", above, f"x{entry}", f"other.{above}"):
            assert field.is_answered(customer, name), f"beside an exact entry: {name}"


def test_nbnet_21_2_a_sub_tree_entry_reaches_what_is_below_and_not_above(field: Checkpoint) -> None:
    customer = field.customer(*BOTH)
    for entry in (SEALED_TREES[0], C2[11]):
        above = entry.partition(".")[2]
        for name in (entry, f"www.{entry}", f"a.b.c.d.{entry}"):
            assert field.is_blocked(customer, name)
        for name in (above, f"x{entry}"):
            assert field.is_answered(customer, name)


def test_nbnet_21_2_an_over_blocked_name_is_let_through_at_once_on_a_sealed_list(field: Checkpoint) -> None:
    customer = field.customer("nbnet")
    assert field.is_blocked(customer, SEALED[5])
    done = field.sekisho("lists", "except", "abuse", SEALED[5], "--reason", "over-blocked, ticket 1")
    assert done["in_force"] is True
    assert done["held"] is True
    assert SEALED[5] not in str(done)
    assert field.is_answered(customer, SEALED[5])
    assert field.is_answered(customer, SEALED[5], tcp=True)
    assert field.is_blocked(customer, SEALED[6])
    shown = field.sekisho("lists", "show", "abuse")["lists"][0]
    assert [one["entry"] for one in shown["exceptions"] if one["entry"] == done["entry"]] == [done["entry"]]
    field.sekisho("lists", "except", "abuse", SEALED[5], "--remove")
    assert field.is_blocked(customer, SEALED[5])


def test_nbnet_21_2_an_exception_is_in_force_with_its_acknowledgement(field: Checkpoint) -> None:
    """The very next query has the other answer, however often."""
    customer = field.customer("nbnet")
    for _ in range(10):
        field.api.post("/v1/exceptions", list="abuse", name=SEALED[9], reason="over-blocked")
        assert field.is_answered(customer, SEALED[9])
        field.api.delete("/v1/exceptions", list="abuse", name=SEALED[9])
        assert field.is_blocked(customer, SEALED[9])


def test_nbnet_21_2_one_name_below_a_sealed_sub_tree_is_let_through_alone(field: Checkpoint) -> None:
    customer = field.customer("nbnet")
    excepted = f"fine.{SEALED_TREES[1]}"
    assert field.is_blocked(customer, excepted)
    field.sekisho("lists", "except", "abuse-trees", "-", stdin=f"{excepted}\n")
    assert field.is_answered(customer, excepted)
    assert field.is_blocked(customer, SEALED_TREES[1])
    assert field.is_blocked(customer, f"www.{SEALED_TREES[1]}")
    assert field.is_blocked(customer, f"below.{excepted}")


# --- Contracts stack; what authorises nothing does nothing --------------------------------------------


def test_a_list_no_clause_names_blocks_nothing(field: Checkpoint) -> None:
    assert field.is_answered(field.customer(*BOTH), "opinion.example")


def test_both_contracts_bring_both_measures(field: Checkpoint) -> None:
    customer = field.customer(*BOTH)
    assert field.is_blocked(customer, C2[12])
    assert field.is_blocked(customer, SEALED[12])


def test_exempt_lifts_what_the_operator_says(field: Checkpoint) -> None:
    customer = field.customer(*BOTH, exempt=["gunma/別記-1"])
    assert field.is_answered(customer, C2[13])
    assert field.is_blocked(customer, SEALED[13])


def test_who_is_no_customer_is_refused_and_who_is_allowed_is_unfiltered(field: Checkpoint) -> None:
    """Never an open resolver (RFC 5358)."""
    for tcp in (False, True):
        answer = field.ask("127.8.8.8", "www.example.com", tcp=tcp)
        assert answer.rcode() == dns.rcode.REFUSED
        assert field.is_answered("127.9.9.1", C2[14], tcp=tcp)
        assert field.is_answered("127.9.9.1", SEALED[14], tcp=tcp)


def test_a_customer_who_leaves_is_refused_at_once(field: Checkpoint) -> None:
    customer = field.customer("gunma")
    assert field.is_answered(customer, "www.example.com")
    field.sekisho("customers", "remove", customer.id)
    assert field.ask(customer, "www.example.com").rcode() == dns.rcode.REFUSED


def test_no_answer_made_for_one_customer_reaches_another(field: Checkpoint) -> None:
    """Decisions come before the cache."""
    with_clause, without = field.customer("gunma"), field.customer("nbnet")
    for _ in range(3):
        assert field.is_answered(without, C2[15])
        assert field.is_blocked(with_clause, C2[15])


# --- Answers -------------------------------------------------------------------------------------------


@pytest.fixture
def customer(field: Checkpoint) -> Customer:
    return field.customer("gunma")


def test_policy_zone_actions_keep_their_meaning(field: Checkpoint, customer: Customer) -> None:
    assert field.is_blocked(customer, "gone.policy.example")
    nodata = field.ask(customer, "nodata.policy.example")
    assert (nodata.rcode(), nodata.answer) == (dns.rcode.NOERROR, [])
    assert field.is_silent(customer, "drop.policy.example")
    assert addresses(field.ask(customer, "data.policy.example")) == {"192.0.2.80"}
    assert addresses(field.ask(customer, "data.policy.example", "AAAA")) == {"2001:db8::80"}
    other = field.ask(customer, "data.policy.example", "MX")
    assert (other.rcode(), other.answer) == (dns.rcode.NOERROR, [])


def test_a_wildcard_blocks_below_and_passthru_lets_one_name_through(field: Checkpoint, customer: Customer) -> None:
    assert field.is_blocked(customer, "any.tree.policy.example")
    assert field.is_answered(customer, "tree.policy.example")
    assert field.is_answered(customer, "pass.tree.policy.example")


def test_tcp_only_is_truncated_over_udp_and_answered_over_tcp(field: Checkpoint, customer: Customer) -> None:
    short = field.ask(customer, "tcp.policy.example")
    assert short.flags & dns.flags.TC
    assert not short.answer
    assert field.is_answered(customer, "tcp.policy.example", tcp=True)


def test_a_walled_garden_is_an_alias_and_what_it_leads_to(field: Checkpoint, customer: Customer) -> None:
    """Over UDP the client is told to come over TCP, where the alias is followed."""
    short = field.ask(customer, "garden.policy.example")
    assert short.flags & dns.flags.TC
    answer = field.ask(customer, "garden.policy.example", tcp=True)
    assert "IN CNAME walled.harmless.example." in answer.to_text()
    assert addresses(answer) == {field.upstream_address}


def test_what_cannot_be_kept_of_a_policy_zone_is_counted_and_named(field: Checkpoint) -> None:
    one = field.sekisho("lists", "show", "policy")["lists"][0]
    assert one["unkept"] == 1
    assert "rpz-nsip" in str(one["kinds"]) + str(one["faults"])


def test_a_sinkhole_answers_with_its_addresses(field: Checkpoint, customer: Customer) -> None:
    assert addresses(field.ask(customer, "sink.example")) == {"192.0.2.66"}
    assert addresses(field.ask(customer, "sink.example", "AAAA")) == {"2001:db8::66"}
    other = field.ask(customer, "sink.example", "TXT")
    assert (other.rcode(), other.answer) == (dns.rcode.NOERROR, [])


def test_a_query_without_edns_gets_an_answer_without(field: Checkpoint, customer: Customer) -> None:
    for name in (C2[16], "www.example.com"):
        assert field.ask(customer, name, edns=False).edns < 0
        assert field.ask(customer, name).edns == 0
