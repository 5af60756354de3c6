"""Explaining: what may be asked, and answers that never repeat the name."""

from __future__ import annotations

import pytest

from sekisho.app.control_explain import question_name, question_type, source_address, summary
from sekisho.model.errors import RefusedError
from sekisho.model.verdicts import Step, Verdict
from unit.control.sites import LISTS, run


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        ("WWW.Example.COM", b"\3www\7example\3com\0"),
        ("www.example.com.", b"\3www\7example\3com\0"),
        (".", b"\0"),
        ("_dns.1.example", b"\4_dns\0011\7example\0"),
        ("例え.example", b"\x0bxn--r8jz45g\7example\0"),
    ],
)
def test_any_name_may_be_asked_about(text, wire):
    assert question_name(text) == wire


@pytest.mark.parametrize("text", ["a..b.example", "x" * 64 + ".example", ".".join(["abcdefg"] * 40), "\u2028.example"])
def test_what_is_no_name_is_refused_without_repeating_it(text):
    with pytest.raises(RefusedError) as caught:
        question_name(text)
    assert "abcdefg" not in str(caught.value)
    assert "xxxx" not in str(caught.value)


def test_types_by_name_and_number():
    assert [question_type(text) for text in ("A", "aaaa", "HTTPS", "TYPE65", "ANY")] == [1, 28, 65, 65, 255]
    with pytest.raises(RefusedError):
        question_type("NOSUCH")


def test_addresses_of_both_families():
    assert source_address("2001:DB8::1") == "2001:db8::1"
    with pytest.raises(RefusedError):
        source_address("192.0.2.0/24")


def test_every_verdict_has_its_sentence():
    said = {summary(verdict, Step.SOURCE, "c-1", "c2", "gunma/別記-1") for verdict in Verdict}
    assert len(said) == len(Verdict)


def test_an_explanation_has_the_clauses_words_and_the_steps_in_order(folder):
    async def scenario(control):
        return await control.explain(customer="c-1", address=None, port=0, name="c2.example", qtype="A", tcp=False)

    body = run(folder, scenario)
    assert body["clause_words"]["ja"]
    assert body["clause_words"]["en"]
    assert [step["step"] for step in body["steps"]] == [1, 2, 3, 4, 5, 6, 7]
    assert [step["decided"] for step in body["steps"]] == [False] * 6 + [True]
    assert "c2.example" not in repr(body)


def test_lists_that_hold_addresses_are_said_to_judge_the_answer_later(folder):
    folder.write("c2.txt", "203.0.113.66\n")
    folder.lists([{"id": "c2", "category": "c2", "source": "c2.txt", "format": "addresses"}, LISTS[1]])

    async def scenario(control):
        def explained(name):
            return control.explain(customer="c-1", address=None, port=0, name=name, qtype="A", tcp=False)

        said = [await explained("www.example.org")]
        await control.add_opt_out("c-1", "c2", until=None, by=None, actor="uid:0(root)")
        said.append(await explained("www.example.org"))
        return [(one["verdict"], one["answer_lists"]) for one in said]

    assert run(folder, scenario) == [("answered", ["c2"]), ("answered", [])]


def test_a_stranger_is_refused_and_told_why(folder):
    async def scenario(control):
        return await control.explain(customer=None, address="198.51.100.1", port=0, name="c2.example", qtype="A", tcp=False)

    body = run(folder, scenario)
    assert (body["verdict"], body["customer"], body["lists"]) == ("refused", None, [])


def test_an_allowed_network_is_answered_unfiltered(folder):
    folder.set(allow=["198.51.100.0/24"])

    async def scenario(control):
        return await control.explain(customer=None, address="198.51.100.1", port=0, name="c2.example", qtype="A", tcp=False)

    body = run(folder, scenario)
    assert (body["verdict"], body["list"]) == ("answered", None)


def test_a_customer_without_an_address_is_told_to_be_asked_about_by_address(folder):
    async def scenario(control):
        record = {"id": "c-9", "terms": "gunma"}
        await control.add_customer(record, replace=False, actor="uid:0(root)")
        with pytest.raises(RefusedError, match="--address"):
            await control.explain(customer="c-9", address=None, port=0, name="c2.example", qtype="A", tcp=False)

    run(folder, scenario)
