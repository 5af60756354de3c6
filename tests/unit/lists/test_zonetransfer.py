"""Transfers without a primary: the order of records, differences, signatures, and NOTIFY's answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rrset
import dns.tsig
import pytest

from sekisho.drivers.transfer import Signer, load_tsig, newer, split_endpoint
from sekisho.drivers.zonenotify import Listener, _Zone
from sekisho.lists import idn
from sekisho.lists.compile import finish
from sekisho.lists.delta import apply
from sekisho.lists.guard import build_guard
from sekisho.lists.rows import Tally
from sekisho.lists.zonetransfer import Transferred, ZoneReader, query_serial
from sekisho.model.errors import FeedError
from sekisho.model.lists import ActionKind, ListDefinition, ListFormat, TsigKey
from sekisho.snapshot.digest import key_of
from sekisho.snapshot.entries import CompiledList

KEY = key_of(bytes(range(16)))
ZONE = "rpz.test."
WIRE = idn.to_wire(ZONE)
GUARD = build_guard(KEY)
DEFINITION = ListDefinition("policy", 0, "c2", "127.0.0.1:53", ListFormat.AXFR, zone=ZONE)


def soa(serial: int) -> tuple[str, str]:
    return ZONE, f"SOA a. b. {serial} 1 1 1 1"


def entry(name: str, data: str) -> tuple[str, str]:
    return f"{name}.{ZONE}", data


def message(records: Sequence[tuple[str, str]], qtype: str = "AXFR") -> bytes:
    answer = dns.message.make_response(dns.message.make_query(ZONE, qtype))
    for owner, data in records:
        rtype, _, rdata = data.partition(" ")
        answer.answer.append(dns.rrset.from_text(owner, 300, "IN", rtype, rdata))
    return answer.to_wire()


def read(records: Sequence[tuple[str, str]], asked: int | None = None, size: int = 100) -> ZoneReader:
    """A transfer in messages of `size` records."""
    reader = ZoneReader(WIRE, Tally("zone", sealed=False), asked)
    for start in range(0, len(records), size):
        done = reader.feed(message(records[start : start + size]))
        assert done == (start + size >= len(records)) == reader.done
    return reader


def whole(records: Sequence[tuple[str, str]]) -> CompiledList:
    reader = read([soa(1), *records, soa(1)])
    return finish(DEFINITION, reader.rows, KEY, GUARD, reader.tally).compiled


def shown(compiled: CompiledList) -> dict[str, str]:
    actions = ("-", *(f"{item.kind.name}{sorted(record.rtype for record in item.records) or ''}" for item in compiled.actions))
    return {
        idn.to_text(compiled.name(row)): f"{actions[compiled.exact[row]]} {actions[compiled.below[row]]}" for row in range(len(compiled))
    }


def changed(base: CompiledList, steps: Sequence[tuple[str, str]]) -> CompiledList:
    reader = read(steps, asked=1)
    assert reader.outcome is Transferred.DELTA
    return apply(base, reader.differences, KEY, GUARD, reader.tally)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_full_transfer_however_it_is_divided_into_messages(size: int) -> None:
    records = [soa(7), entry("a.example", "CNAME ."), entry("*.a.example", "CNAME *."), entry("b.example", "A 192.0.2.1"), soa(7)]
    for asked in (None, 3):
        reader = read(records, asked, size)
        assert (reader.outcome, reader.serial) == (Transferred.FULL, 7)
        assert shown(finish(DEFINITION, reader.rows, KEY, GUARD, reader.tally).compiled) == {
            "a.example": "NXDOMAIN NODATA",
            "b.example": "LOCAL_DATA[1] -",
        }


def test_our_serial_alone_means_that_nothing_changed() -> None:
    assert read([soa(7)], asked=7).outcome is Transferred.CURRENT


def test_an_incremental_answer_may_be_the_whole_of_an_empty_zone() -> None:
    reader = read([soa(7), soa(7)], asked=3)
    assert (reader.outcome, reader.rows.count) == (Transferred.FULL, 0)


@pytest.mark.parametrize("size", [1, 2, 100])
def test_differences_of_several_steps_end_at_the_last(size: int) -> None:
    base = whole([entry("a.example", "CNAME ."), entry("b.example", "CNAME ."), entry("d.example", "A 192.0.2.1")])
    steps = [
        soa(3),
        soa(1), entry("a.example", "CNAME ."),
        soa(2), entry("a.example", "CNAME rpz-drop."), entry("c.example", "CNAME ."), entry("*.b.example", "CNAME ."),
        soa(2), entry("c.example", "CNAME ."), entry("d.example", "A 192.0.2.1"),
        soa(3), entry("d.example", "A 192.0.2.2"), entry("d.example", "TXT x"),
        soa(3),
    ]  # fmt: skip
    reader = read(steps, asked=1, size=size)
    assert (reader.outcome, reader.serial) == (Transferred.DELTA, 3)
    after = apply(base, reader.differences, KEY, GUARD, reader.tally)
    assert shown(after) == {"a.example": "DROP -", "b.example": "NXDOMAIN NXDOMAIN", "d.example": "LOCAL_DATA[1, 16] -"}
    assert after.digests.tolist() == sorted(after.digests.tolist())
    assert len(after.actions) == 3, "actions nobody refers to are gone"
    assert b"\1c\7example" not in after.names.tobytes()


def test_deleting_what_was_refused_or_not_kept_changes_nothing() -> None:
    base = whole([entry("a.example", "CNAME ."), entry("com", "CNAME ."), entry("32.1.2.0.192.rpz-nsip", "CNAME .")])
    steps = [
        soa(2),
        soa(1),
        entry("com", "CNAME ."),
        entry("32.1.2.0.192.rpz-nsip", "CNAME ."),
        entry("z.example", "CNAME ."),
        soa(2),
        soa(2),
    ]
    reader = read(steps, asked=1)
    assert shown(apply(base, reader.differences, KEY, GUARD, reader.tally)) == {"a.example": "NXDOMAIN -"}
    assert (reader.tally.refused, reader.removed.unkept.total()) == (-1, 1)


def test_deleting_one_action_leaves_another_that_took_its_place() -> None:
    base = whole([entry("a.example", "CNAME rpz-passthru.")])
    assert shown(changed(base, [soa(2), soa(1), entry("a.example", "CNAME ."), soa(2), soa(2)])) == {"a.example": "PASSTHRU -"}


def test_differences_are_guarded_like_a_whole_zone() -> None:
    reader = read([soa(2), soa(1), soa(2), entry("com", "CNAME ."), entry("a.example", "CNAME ."), soa(2)], asked=1)
    assert shown(apply(whole([]), reader.differences, KEY, GUARD, reader.tally)) == {"a.example": "NXDOMAIN -"}
    assert reader.tally.refused == 1


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([entry("a.example", "CNAME ."), soa(1)], "does not start with the SOA"),
        ([entry("a.example", "A 192.0.2.1")], "does not start with the SOA"),
        ([soa(1), entry("a.example", "CNAME ."), soa(2)], "changed while it was transferred"),
    ],
)
def test_a_transfer_out_of_order_is_one_sentence(records: list[tuple[str, str]], words: str) -> None:
    with pytest.raises(FeedError, match=words):
        read(records)


def test_a_refusal_names_the_rcode() -> None:
    refused = dns.message.make_response(dns.message.make_query(ZONE, "AXFR"))
    refused.set_rcode(dns.rcode.REFUSED)
    with pytest.raises(FeedError, match="REFUSED"):
        ZoneReader(WIRE, Tally("zone", sealed=False)).feed(refused.to_wire())
    with pytest.raises(FeedError, match="not well-formed"):
        ZoneReader(WIRE, Tally("zone", sealed=False)).feed(b"short")


def test_the_serial_of_an_answer() -> None:
    assert query_serial(message([soa(4294967295)], "SOA"), WIRE) == 4294967295
    with pytest.raises(FeedError, match="without the SOA"):
        query_serial(message([], "SOA"), WIRE)


def test_serials_are_compared_around_their_end() -> None:
    assert newer(1, 0)
    assert newer(0, 4294967295)
    assert not newer(0, 0)
    assert not newer(0, 1)


def test_addresses_of_primaries() -> None:
    assert split_endpoint("192.0.2.1:5353") == ("192.0.2.1", 5353)
    assert split_endpoint("[2001:db8::1]:5353") == ("2001:db8::1", 5353)
    assert split_endpoint("[2001:db8::1]") == split_endpoint("2001:db8::1") == ("2001:db8::1", 53)
    assert split_endpoint("ns.example") == ("ns.example", 53)


@pytest.fixture
def tsig(tmp_path: Path) -> TsigKey:
    (tmp_path / "secret").write_text("c2VjcmV0IG9mIHRoZSB0ZXN0cw==\n")
    return TsigKey("Sekisho.Key.test", "hmac-sha256", str(tmp_path / "secret"))


def signed_stream(signer: Signer, key: dns.tsig.Key, signed: Sequence[bool]) -> list[bytes]:
    """The messages of a server that signs some of them."""
    query = dns.message.make_query(ZONE, "AXFR")
    plain = dns.message.from_wire(query.to_wire())
    server = dns.message.from_wire(signer.sign(query), keyring={key.name: key})
    messages, context = [], None
    for number, is_signed in enumerate(signed):
        response = dns.message.make_response(server if is_signed else plain)
        response.answer.append(dns.rrset.from_text(f"a{number}.{ZONE}", 300, "IN", "CNAME", "."))
        if is_signed:
            messages.append(response.to_wire(multi=True, tsig_ctx=context))
            context = response.tsig_ctx
        else:
            messages.append(response.to_wire())
            context.update(messages[-1])
    return messages


def test_a_stream_may_be_signed_now_and_then_but_at_its_ends(tsig: TsigKey) -> None:
    key = load_tsig(tsig)
    signer = Signer(key)
    now = time.time()
    for wire in signed_stream(signer, key, [True, False, False, True, True]):
        signer.verify(wire, now)
    signer.close()
    for wire in signed_stream(signer, key, [True, False]):
        signer.verify(wire, now)
    with pytest.raises(FeedError, match="not signed"):
        signer.close()


def verify_all(signer: Signer, messages: Sequence[bytes]) -> None:
    for wire in messages:
        signer.verify(wire, time.time())


@pytest.mark.parametrize("changed_message", [0, 1, 2])
def test_a_message_changed_on_the_way_is_found_out(tsig: TsigKey, changed_message: int) -> None:
    key = load_tsig(tsig)
    signer = Signer(key)
    messages = signed_stream(signer, key, [True, False, True])
    messages[changed_message] = messages[changed_message].replace(b"rpz\4test", b"rpz\4tesT")
    with pytest.raises(FeedError, match="does not verify"):
        verify_all(signer, messages)


def test_an_unsigned_answer_to_a_signed_question_is_refused(tsig: TsigKey) -> None:
    signer = Signer(load_tsig(tsig))
    signer.sign(dns.message.make_query(ZONE, "AXFR"))
    with pytest.raises(FeedError, match="not signed"):
        signer.verify(message([soa(1)]), 0.0)


def test_a_clock_that_is_off_is_named(tsig: TsigKey) -> None:
    key = load_tsig(tsig)
    signer = Signer(key)
    with pytest.raises(FeedError, match="clock"):
        signer.verify(signed_stream(signer, key, [True])[0], 0.0)


def test_secrets_in_the_forms_they_come_in(tmp_path: Path, tsig: TsigKey) -> None:
    plain = load_tsig(tsig)
    (tmp_path / "secret").write_text('key "sekisho.key.test" {\n  algorithm hmac-sha256;\n  secret "c2VjcmV0IG9mIHRoZSB0ZXN0cw==";\n};\n')
    assert load_tsig(tsig).secret == plain.secret
    for text in ("no base 64!", "", "ü"):
        (tmp_path / "secret").write_text(text)
        with pytest.raises(FeedError, match="not base 64"):
            load_tsig(tsig)
    (tmp_path / "secret").unlink()
    with pytest.raises(FeedError, match="cannot be read"):
        load_tsig(tsig)
    assert load_tsig(TsigKey(tsig.name, tsig.algorithm, "", "c2VjcmV0IG9mIHRoZSB0ZXN0cw==")).secret == plain.secret


def notify(zone: str = ZONE, key: dns.tsig.Key | None = None) -> bytes:
    query = dns.message.make_query(zone, "SOA")
    query.set_opcode(dns.opcode.NOTIFY)
    query.flags = dns.opcode.to_flags(dns.opcode.NOTIFY) | dns.flags.AA
    if key is not None:
        query.use_tsig(key)
    return query.to_wire()


def listener(told: list[str], key: dns.tsig.Key | None = None) -> Listener:
    zone = _Zone("policy", frozenset({"127.0.0.1"}), key, told.append)
    return Listener({dns.name.from_text(ZONE): [zone]}, {} if key is None else {key.name: key})


def rcode(answer: bytes | None) -> int:
    assert answer is not None
    assert answer[2] & 0x80
    return answer[3] & 15


def test_notify_is_heeded_from_the_primary_alone(tsig: TsigKey) -> None:
    told: list[str] = []
    listening = listener(told)
    assert rcode(listening.answer(notify(), "127.0.0.2")) == dns.rcode.REFUSED
    assert rcode(listening.answer(notify("other.test."), "127.0.0.1")) == dns.rcode.NOTAUTH
    assert told == []
    assert rcode(listening.answer(notify("RPZ.Test."), "127.0.0.1")) == dns.rcode.NOERROR
    assert told == ["policy"]


def test_notify_under_a_key_is_heeded_with_that_key_alone(tsig: TsigKey) -> None:
    told: list[str] = []
    key = load_tsig(tsig)
    listening = listener(told, key)
    wrong = dns.tsig.Key(key.name, b"another", key.algorithm)
    assert rcode(listening.answer(notify(), "127.0.0.1")) == dns.rcode.REFUSED
    assert rcode(listening.answer(notify(key=wrong), "127.0.0.1")) == dns.rcode.NOTAUTH
    assert told == []
    answer = listening.answer(notify(key=key), "127.0.0.1")
    assert answer is not None
    assert rcode(answer) == dns.rcode.NOERROR
    assert told == ["policy"]


def test_what_is_no_notify_gets_an_error_or_nothing() -> None:
    listening = listener([])
    query = dns.message.make_query(ZONE, "SOA")
    assert rcode(listening.answer(query.to_wire(), "127.0.0.1")) == dns.rcode.REFUSED
    assert listening.answer(dns.message.make_response(query).to_wire(), "127.0.0.1") is None
    assert rcode(listening.answer(query.to_wire()[:14], "127.0.0.1")) == dns.rcode.FORMERR
    axfr = dns.message.make_query(ZONE, "AXFR")
    axfr.set_opcode(dns.opcode.NOTIFY)
    assert rcode(listening.answer(axfr.to_wire(), "127.0.0.1")) == dns.rcode.FORMERR


def test_chased_targets_are_kept_as_they_stand() -> None:
    compiled = whole([entry("*.a.example", "CNAME *.garden.example."), entry("b.example", "CNAME rpz-other.")])
    assert [(item.kind, item.records[0].rdata) for item in compiled.actions] == [(ActionKind.CHASE, b"\1*\6garden\7example\0")]
    assert asyncio.iscoroutinefunction(Listener.serve_tcp)


def test_a_label_that_holds_the_octets_of_the_zone_is_outside_of_it() -> None:
    wire = bytearray(message([soa(7), entry("bad", "CNAME ."), soa(7)]))
    start = 12 + len(WIRE) + 4
    end = start + 12 + int.from_bytes(wire[start + 10 : start + 12], "big")
    label = b"x" + WIRE[:-1]
    # Of an odd type, so that the module reads it and not the scanner.
    wire[end:end] = bytes((len(label),)) + label + b"\0\0\1\0\1\0\0\1\x2c\0\4\xc0\0\2\1"
    wire[7] += 1
    tally = Tally("zone", sealed=False)
    reader = ZoneReader(WIRE, tally)
    assert reader.feed(bytes(wire))
    assert [fault.message for fault in tally.faults] == ["skipped: its name is outside the zone"]
    assert [reader.rows.name(row) for row in range(reader.rows.count)] == [idn.to_wire("bad")]
