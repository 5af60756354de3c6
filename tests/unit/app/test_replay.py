"""`sekisho replay`: recorded traffic against a policy, in the time of the recording."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import struct
import sys

import pytest
from click.testing import CliRunner

from sekisho.cli.main import cli
from sekisho.drivers.audit import ledger_of
from sekisho.drivers.ledger import Ledger
from sekisho.drivers.listfiles import ListFiles
from sekisho.drivers.listkey import load_key
from sekisho.drivers.listversions import Identity, Stored
from sekisho.drivers.site import load_site
from sekisho.lists.compile import compile_feed
from sekisho.model.customers import Prefix
from sekisho.model.measureacts import CustomerExempted
from sekisho.model.sessions import Accounting, AccountingKind, Ports, Share
from support import recordings as made

SETTINGS = """\
detection: {window: 5s, windows: 3, sustained: 2, clear: 2, floor: 20, factor: 5}
bandwidth: {every: 60s, windows: 3, sustained: 2, segments: [{id: pon-1, down: 10Mbit/s, up: 10Mbit/s, everybody: true}]}
"""
PACK = """\
version: 1
pack: mine
document: {title: Mine, operator: Me, version: "1"}
clauses:
  - id: mine/1
    article: Article 1
    ja: 一
    en: one
    rules:
      - {kind: measure, ground: dns-overload, detector: dns-overload, effect: silence, extent: partial, notice: before,
         urgent: true, release_delay: 10m, fees: continue, record: {fields: [time, customer, clause, action], retention: 90d}}
  - id: mine/2
    article: Article 2
    ja: 二
    en: two
    rules:
      - {kind: measure, ground: mass-mail, detector: mail-volume, count: COUNT, window: 10m, effect: limit-mail, connections: 10,
         extent: partial, notice: before, urgent: true, release_delay: 10m, fees: continue,
         record: {fields: [time, customer, clause, action], retention: 90d}}
  - id: mine/3
    article: Article 3
    ja: 三
    en: three
    rules:
      - {kind: measure, ground: bandwidth, detector: bandwidth, share: 50%, window: 5m, effect: limit-rate, keep: 25%,
         extent: partial, notice: after, release_delay: 10m, fees: continue,
         record: {fields: [time, customer, clause, action], retention: 90d}}
"""
SECRET = "secret-name.example"


def run(*words):
    """Runs a command; the exit code and what was printed."""
    result = CliRunner().invoke(cli, [str(word) for word in words], prog_name="sekisho")
    return result.exit_code, result.output


@pytest.fixture
def site(tmp_path):
    (tmp_path / "mine.yaml").write_text(PACK.replace("COUNT", "20"))
    return made.make_site(tmp_path, "./mine.yaml", more=SETTINGS)


def flood(answers=False, loud=1, seconds=40, rate=30):
    """Everybody asks once a second, and one customer much more for 20 seconds; few of the answers come."""
    packets = []
    identity = 0
    for second in range(seconds):
        for number in range(1, 13):
            for turn in range(rate if number == loud and 5 <= second < 25 else 1):
                identity = (identity + 1) % 65536
                at = made.START + second + turn / 100
                packets.append(made.query(at, number, SECRET, identity))
                if answers and (second >= 25 or turn == 0 or identity % 2):
                    packets.append(made.reply(at + 0.002, number, SECRET, identity, rcode=3))
    return packets


def body(site, path, *words):
    code, text = run("replay", path, "--config", site, "--json", *words)
    assert code == 0, text
    return json.loads(text)


def test_a_flood_that_left_queries_unanswered_is_told_with_its_figures_and_what_would_have_been_done(site, tmp_path):
    path = made.write(tmp_path / "a.pcap", flood(answers=True))
    (one,) = body(site, path)["policies"][0]["measures"]
    assert (one["customer"], one["clause"], one["effect"], one["state"]) == ("c-1", "mine/1", "silence", "ending")
    assert made.START + 5 < one["since"] <= made.START + 20
    assert one["since"] == one["enforced"]
    assert made.START + 30 <= one["until"] <= made.START + 45
    assert one["due"] == one["until"] + 600
    assert one["evidence"]["rate"] >= 20
    assert one["evidence"]["load"] == "timeouts"
    assert one["evidence"]["nxdomain_share"] > 0


def test_answers_that_all_came_soon_find_nobody(site, tmp_path):
    path = made.write(tmp_path / "a.pcap", [*flood(answers=False, rate=1), *flood(answers=True, rate=1)])
    assert body(site, path)["policies"][0]["measures"] == []


def test_a_capture_without_answers_finds_a_flood_only_when_load_is_taken_to_be_there(site, tmp_path):
    path = made.write(tmp_path / "a.pcap", flood())
    without = body(site, path)["policies"][0]
    assert without["measures"] == []
    assert any("no answer of a name server" in note for note in without["notes"])
    (one,) = body(site, path, "--loaded")["policies"][0]["measures"]
    assert one["evidence"]["load"] == "assumed"
    assert "utilisation" not in one["evidence"]


def test_queries_to_another_name_server_do_not_count(site, tmp_path):
    path = made.write(tmp_path / "a.pcap", flood())
    assert body(site, path, "--loaded", "--resolver", "192.0.2.54")["policies"][0]["recording"]["queries"] == 0
    assert body(site, path, "--loaded", "--resolver", made.SERVER)["policies"][0]["recording"]["queries"] == 20 * 29 + 40 * 12


def mail(number, many):
    return [made.syn(made.START + turn * 120 / many, number, f"203.0.113.{turn % 200}", 25) for turn in range(many)]


def test_a_changed_pack_affects_fewer_and_both_are_compared(site, tmp_path):
    changed = tmp_path / "changed.yaml"
    changed.write_text(PACK.replace("COUNT", "40"))
    later = [made.syn(made.START + 400, 3, "203.0.113.1", 443)]
    path = made.write(tmp_path / "a.pcap", [*mail(1, 30), *mail(2, 60), *later])
    told = body(site, path, "--terms", changed)
    found = [[one["customer"] for one in policy["measures"]] for policy in told["policies"]]
    assert found == [["c-1", "c-2"], ["c-2"]]
    (row,) = told["comparison"]["measures"]
    assert (row["clause"], row["before"], row["after"], row["no_more"], row["newly"]) == ("mine/2", 2, 1, ["c-1"], [])
    assert told["policies"][0]["measures"][0]["enforced"] is None or told["policies"][0]["measures"][0]["enforced"] >= made.START
    code, text = run("replay", path, "--config", site, "--terms", changed)
    assert code == 0
    assert "mine/2, no more: c-1" in text
    assert "the line began 30 connections to ports of mail; the criterion is 20." in text
    assert "limit-mail (the sending of mail is limited to 10 connections a minute)" in text


def test_a_pack_of_another_id_changes_nothing_and_is_refused(site, tmp_path):
    path = made.write(tmp_path / "a.pcap", mail(1, 2))
    code, text = run("replay", path, "--config", site, "--terms", "gunma")
    assert code == 1
    assert "the configuration has mine" in text


def test_another_configuration_is_compared_by_its_own_thresholds(site, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.yaml").write_text(PACK.replace("COUNT", "20"))
    against = made.make_site(other, "./mine.yaml", more=SETTINGS.replace("floor: 20", "floor: 1000"))
    path = made.write(tmp_path / "a.pcap", flood(answers=True))
    told = body(site, path, "--against", against)
    assert [len(policy["measures"]) for policy in told["policies"]] == [1, 0]
    assert run("replay", path, "--config", site, "--against", against, "--terms", "nbnet")[0] == 2


def test_no_name_that_was_asked_for_is_shown(site, tmp_path):
    path = made.write(tmp_path / "a.pcap", flood(answers=True))
    for words in ((), ("--json",)):
        code, text = run("replay", path, "--config", site, *words)
        assert code == 0
        assert "secret-name" not in text


def v5(octets, target=1, many=1):
    """A NetFlow v5 packet: so many octets to a customer."""
    header = struct.pack("!HHIIIIBBH", 5, many, 0, int(made.START), 0, 0, 0, 0, 0)
    source, to = bytes((203, 0, 113, 1)), bytes((198, 51, 100, target))
    record = struct.pack("!4s4s4sHHIIIIHHBBBBHHBBH", source, to, bytes(4), 0, 0, 1, octets, 0, 0, 443, 50000, 0, 16, 6, 0, 0, 0, 0, 0, 0)
    return header + record * many


def occupying():
    """One customer fills most of the segment."""
    packets = []
    for second in range(0, 900, 10):
        packets.append(made.export(made.START + second, v5(75_000_000)))
        packets += [made.export(made.START + second, v5(1_000_000, number)) for number in (2, 3, 4)]
    return packets


def test_exported_flows_of_a_busy_segment_find_who_occupies_it(site, tmp_path):
    # 10 Mbit/s on a segment of 10; the line of 100 has to have half of it: the share is of the line.
    told = body(site, made.write(tmp_path / "a.pcap", occupying()))["policies"][0]
    (one,) = told["measures"]
    assert (one["customer"], one["clause"], one["effect"]) == ("c-1", "mine/3", "limit-rate")
    assert one["enforced"] == one["since"]
    assert one["lifted"] is None
    assert one["evidence"]["share_down"] == pytest.approx(0.6, abs=0.06)
    assert one["evidence"]["segment"] == "pon-1"
    assert any("used 60% of 100 Mbit/s" in sentence or "Mbit/s of the line" in sentence for sentence in one["reasons"])
    assert told["recording"]["octets"] == 90 * 78_000_000


@pytest.mark.parametrize("lines", ["", "lines: {shaping: false, line: {down_mbps: 100, up_mbps: 100}}\n"])
def test_a_line_without_a_capacity_is_found_and_told_not_to_be_slowed(tmp_path, lines):
    pack = PACK.replace("COUNT", "20").replace("share: 50%, window: 5m", "volumes: [{down: 100MB, window: 10m}]")
    (tmp_path / "mine.yaml").write_text(pack)
    site = made.make_site(tmp_path, "./mine.yaml", more=SETTINGS + lines)
    customers = tmp_path / "customers.yaml"
    customers.write_text(customers.read_text().replace("[198.51.100.1], plan: {down_mbps: 100, up_mbps: 100}", "[198.51.100.1]"))
    path = made.write(tmp_path / "a.pcap", occupying())
    told = body(site, path)["policies"][0]
    (one,) = told["measures"]
    assert (one["customer"], one["effect"], one["enforced"]) == ("c-1", "limit-rate", one["since"])
    assert ("the customer has no `plan`" in (one["not_done"] or "")) is not bool(lines)
    (total,) = told["totals"]
    assert (total["found"], total["enforced"]) == (1, int(bool(lines)))
    text = run("replay", path, "--config", site)[1]
    assert ("nothing would have been done: nobody can say to what" in text) is not bool(lines)
    assert ("would have been in force from" in text) is bool(lines)


def exempt(state, *exemptions):
    """The ledger of a daemon whose operator exempted customers from clauses, until a time."""

    async def write():
        state.mkdir()
        ledger = Ledger.open(ledger_of(state))
        for customer, clause, until in exemptions:
            await ledger.append(CustomerExempted(customer, clause, "a school", until), "uid:0", made.START)
        await ledger.close()

    asyncio.run(write())


def test_whom_the_operator_exempted_at_run_time_is_not_affected(site, tmp_path):
    path = made.write(tmp_path / "a.pcap", [*mail(1, 30), *mail(2, 30), *mail(3, 30), made.syn(made.START + 400, 4, "203.0.113.1", 443)])
    exempt(tmp_path / "state", ("c-1", "mine/2", None), ("c-2", "mine/2", made.START + 10), ("c-3", "mine/1", None))
    found = body(site, path)["policies"][0]
    assert [one["customer"] for one in found["measures"]] == ["c-2", "c-3"], "an exemption that ran out, and one from another clause"
    assert found["totals"][0]["found"] == 2
    assert any(note.startswith("mine/2 would have been found for 1 customer exempt from it") for note in found["notes"])


def test_the_table_of_nfdump_gives_what_the_packets_give(site, tmp_path):
    rows = [
        f"2023-11-14T22:{13 + second // 60:02}:{second % 60:02}+00:00,0,TCP,203.0.113.1,443,198.51.100.{number},50000,...A....,9,{octets}"
        for second in range(20, 920, 10)
        for number, octets in ((1, 75_000_000), (2, 1_000_000), (3, 1_000_000))
    ]
    path = tmp_path / "flows.csv"
    head = "lastSeen,duration,proto,srcAddr,srcPort,dstAddr,dstPort,flags,packets,bytes"
    path.write_text("\n".join([head, *rows, "Summary", "flows,bytes", "90,1"]) + "\n")
    (one,) = body(site, path)["policies"][0]["measures"]
    assert (one["customer"], one["clause"]) == ("c-1", "mine/3")
    path.write_text("\n".join([head, *rows[:-1], rows[-1][:40]]))
    code, text = run("replay", path, "--config", site)
    assert code == 1
    assert "line 271 is no flow of nfdump's (it ends there or is cut off)" in text


def test_a_file_of_nfcapd_is_read_by_nfdump_itself(site, tmp_path, monkeypatch):
    # As nfdump 1.7.1 tells it, in the zone it is given.
    program = tmp_path / "nfdump"
    program.write_text(
        '#!/bin/sh\n[ "$TZ $1 $3 $4" = "UTC -r -o csv" ] || exit 3\n'
        "echo ts,te,td,sa,da,sp,dp,pr,flg,fwd,stos,ipkt,ibyt,opkt,obyt\n"
        "echo 2023-11-14 22:13:20,2023-11-14 22:13:21,1.000,203.0.113.1,198.51.100.1,443,50000,TCP,...A....,0,0,9,1000,0,0\n"
        "echo Summary\n"
    )
    program.chmod(0o755)
    path = tmp_path / "nfcapd.202311142210"
    path.write_bytes(b"\x0c\xa5\x02\x00" + bytes(300))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    recording = body(site, path)["policies"][0]["recording"]
    assert (recording["octets"], recording["begin"]) == (1000, made.START + 1)
    program.write_text("#!/bin/sh\nexit 250\n")
    assert "nfdump told no flows" in run("replay", path, "--config", site)[1]
    monkeypatch.setenv("PATH", "/nowhere")
    assert f"run `nfdump -r {path} -o csv > flows.csv` and replay that" in run("replay", path, "--config", site)[1]


def keep_list(site, names):
    """Keep a list as the daemon does."""
    loaded = load_site(site)
    (definition,) = loaded.lists
    state = loaded.settings.state
    key = load_key(state, "")
    result = compile_feed(definition, "\n".join(names).encode(), key, file="names")
    ListFiles(state).write(definition.id, Stored(result.compiled, result.report, Identity.of(definition, key), made.START))


def test_queries_a_list_would_have_answered_are_counted_by_customer_without_their_names(tmp_path):
    (tmp_path / "lists.yaml").write_text(
        "version: 1\nlists:\n  - {id: abuse, category: child-abuse, source: names, format: domains, scope: subtree}\n"
    )
    (tmp_path / "names").write_text(f"{SECRET}\n")
    site = made.make_site(tmp_path, "nbnet", more="lists: lists.yaml")
    packets = [made.query(made.START + turn, 1, SECRET, turn) for turn in range(3)]
    packets += [made.query(made.START, 2, "fine.example", 7), made.query(made.START, 2, SECRET.upper(), 8)]
    path = made.write(tmp_path / "a.pcap", packets)
    before = body(site, path)["policies"][0]
    assert before["blocked"] == []
    assert any("no list is judged" in note for note in before["notes"])
    assert not (tmp_path / "state").exists()
    keep_list(site, [SECRET])
    told = body(site, path)["policies"][0]
    assert [(one["customer"], one["list"], one["queries"]) for one in told["blocked"]] == [("c-1", "abuse", 3), ("c-2", "abuse", 1)]
    assert told["blocked"][0]["clause"].startswith("nbnet/")
    assert "secret" not in json.dumps(told).lower()


def test_what_is_no_recording_is_refused_with_what_would_be_one(site, tmp_path):
    path = tmp_path / "a.pcap"
    path.write_bytes(b"this is no capture")
    code, text = run("replay", path, "--config", site)
    assert code == 1
    assert "is no recording" in text
    assert "name a capture (pcap, pcapng)" in text


@pytest.mark.parametrize("cut", [3, 30, 10_000])
def test_a_capture_that_is_cut_off_is_told(site, tmp_path, cut):
    path = made.write(tmp_path / "a.pcap", mail(1, 3))
    whole = path.read_bytes()
    path.write_bytes(whole[: max(10, len(whole) - cut)])
    code, text = run("replay", path, "--config", site)
    assert code == 1
    assert "cut off within a packet" in text or "is no capture that can be read" in text


def test_a_site_without_customers_is_told(tmp_path):
    site = made.make_site(tmp_path, "nbnet", people=0)
    path = made.write(tmp_path / "a.pcap", mail(1, 3))
    code, text = run("replay", path, "--config", site)
    assert code == 1
    assert "the configuration has no customers" in text


def test_traffic_of_nobody_is_told(site, tmp_path):
    path = made.write(tmp_path / "a.pcap", [made.syn(made.START, 200, "203.0.113.1", 25)])
    told = body(site, path)["policies"][0]
    assert told["recording"]["nobody"] == 1
    assert any("compare the addresses" in note for note in told["notes"])


def test_without_scapy_the_extra_is_named(site, tmp_path, monkeypatch):
    path = made.write(tmp_path / "a.pcap", mail(1, 3))
    monkeypatch.setitem(sys.modules, "scapy.error", None)
    code, text = run("replay", path, "--config", site)
    assert code == 1
    assert "pip install sekisho[replay]" in text


HANDED = "203.0.113.77"
"""An address that goes from customer to customer."""


def heard(kind, at, session, user, *prefixes, shares=()):
    return Accounting(
        kind, "nas-1", made.START + at, session, user, tuple(Prefix.parse(one) for one in prefixes), shares, seconds=max(0, int(at))
    )


def downloads(begin, seconds, target):
    return [made.frame(made.START + second, "198.18.0.1", target, 17, bytes(8) + bytes(1400)) for second in range(begin, begin + seconds)]


def octets(told):
    return told["policies"][0]["recording"]["octets"]


def test_an_address_is_his_who_held_it_when_the_packet_passed(site, tmp_path):
    START, STOP = AccountingKind.START, AccountingKind.STOP  # noqa: N806 - as RFC 2866 has them
    told = [heard(START, 0, "s1", "user-1", HANDED), heard(STOP, 100, "s1", "user-1"), heard(START, 200, "s2", "c-2", HANDED)]
    made.keep_sessions(tmp_path / "state", told, {"user-1": "c-1", "c-2": "c-2"})
    spam = [made.frame(made.START + at, HANDED, "198.18.0.1", 6, made.opening(25)) for at in (*range(50, 99), *range(210, 250))]
    path = made.write(tmp_path / "a.pcap", [*spam, *downloads(150, 20, HANDED), *downloads(520, 5, made.home(3))])
    found = body(site, path)["policies"][0]
    assert sorted((one["customer"], one["clause"]) for one in found["measures"]) == [("c-1", "mine/2"), ("c-2", "mine/2")]
    first, second = sorted(found["measures"], key=lambda one: one["since"])
    assert (first["customer"], second["customer"]) == ("c-1", "c-2")
    assert found["recording"]["nobody"] == 20, "between the two nobody held it"
    assert HANDED not in json.dumps(found)


def test_another_state_folder_may_be_named(site, tmp_path):
    made.keep_sessions(tmp_path / "copy", [heard(AccountingKind.START, 0, "s1", "c-1", HANDED)], {"c-1": "c-1"})
    path = made.write(tmp_path / "a.pcap", downloads(10, 5, HANDED))
    before = sorted(tmp_path.joinpath("copy").iterdir())
    assert octets(body(site, path)) == 0
    assert octets(body(site, path, "--state", tmp_path / "copy")) == 5 * 1428
    assert sorted(tmp_path.joinpath("copy").iterdir()) == before, "nothing is written"
    assert run("replay", path, "--config", site, "--state", tmp_path / "nowhere")[0] == 2


def test_what_is_not_certainly_somebodys_is_nobodys_and_told(site, tmp_path):
    shared = tuple(Share(Prefix.parse("203.0.113.80"), Ports(first, first + 999)) for first in (1000, 2000))
    told = [
        heard(AccountingKind.START, 0, "s1", "stranger", HANDED),
        heard(AccountingKind.START, 0, "s2", "c-1", shares=shared[:1]),
        heard(AccountingKind.START, 0, "s3", "c-2", shares=shared[1:]),
    ]
    made.keep_sessions(tmp_path / "state", told, {"c-1": "c-1", "c-2": "c-2"})
    ports = [
        made.frame(made.START + 20, "198.18.0.1", "203.0.113.80", 17, struct.pack("!4H", 53, port, 8, 0))
        for port in (1500, 2500, 2501, 3500)
    ]
    path = made.write(tmp_path / "a.pcap", [*downloads(10, 5, HANDED), *ports])
    found = body(site, path)["policies"][0]
    assert found["recording"]["octets"] == 3 * 28
    assert found["recording"]["nobody"] == 6
    assert any(note.startswith("6 packets or records are of an address that was somebody's") for note in found["notes"])


SHARED = "203.0.113.80"


def sharing(folder, *, until=100):
    """c-1 has ports 1000 to 1999 of one address and then c-2; c-3 has 2000 to 2999 all the time."""
    first, second = (Share(Prefix.parse(SHARED), Ports(port, port + 999)) for port in (1000, 2000))
    told = [
        heard(AccountingKind.START, 0, "s1", "c-1", shares=(first,)),
        heard(AccountingKind.START, 0, "s2", "c-3", shares=(second,)),
        heard(AccountingKind.STOP, until, "s1", "c-1"),
        heard(AccountingKind.START, until, "s3", "c-2", shares=(first,)),
    ]
    made.keep_sessions(folder / "state", told, {f"c-{number}": f"c-{number}" for number in (1, 2, 3)})


def opened_by(port, address=SHARED, protocol=6):
    """A record of NetFlow v5: a connection from a port to one of mail, 100 octets."""
    ends = int(ipaddress.ip_address(address)), int(ipaddress.ip_address("198.18.0.1"))
    fields = (*ends, 0, 0, 0, 1, 100, 0, 0, port, 25, 0, 2, protocol, 0, 0, 0, 0, 0, 0)
    return struct.pack("!HHIIIIBBH", 5, 1, 0, 0, 0, 0, 0, 0, 0) + struct.pack("!IIIHHIIIIHHBBBBHHBBH", *fields)


def spammers(found):
    return sorted({(one["customer"], one["clause"]) for one in found["measures"]})


def test_exported_flows_of_a_shared_address_are_his_who_had_the_port_then(site, tmp_path):
    sharing(tmp_path)
    packets = [made.export(made.START + at, opened_by(1500)) for at in (*range(10, 40), *range(110, 140))]
    packets += [
        made.export(made.START + 41 + turn, opened_by(port, protocol=how)) for turn, (port, how) in enumerate(((3500, 6), (1500, 1)))
    ]
    packets += downloads(520, 5, made.home(9))
    found = body(site, made.write(tmp_path / "a.pcap", packets))["policies"][0]
    assert spammers(found) == [("c-1", "mine/2"), ("c-2", "mine/2")]
    assert found["recording"]["nobody"] == 2, "a port that nobody has, and a protocol without ports"
    assert any(note.startswith("2 packets or records are of an address that was somebody's") for note in found["notes"])


def test_the_table_of_nfdump_goes_by_ports_of_a_shared_address_too(site, tmp_path):
    sharing(tmp_path)
    head = "lastSeen,duration,proto,srcAddr,srcPort,dstAddr,dstPort,flags,packets,bytes"
    rows = [f"{made.START + at},0,TCP,{SHARED},{port},198.18.0.1,25,......S.,1,100" for at, port in
            (*((at, 1500) for at in (*range(10, 40), *range(110, 140))), (41, 3500))]  # fmt: skip
    rows += [
        f"{made.START + 42},0,ICMP,198.18.0.1,0,{SHARED},2048,........,1,100",
        f"{made.START + 520},0,UDP,198.18.0.1,9,{made.home(9)},9,,1,5",
    ]
    path = tmp_path / "flows.csv"
    path.write_text("\n".join([head, *rows]) + "\n")
    found = body(site, path)["policies"][0]
    assert spammers(found) == [("c-1", "mine/2"), ("c-2", "mine/2")]
    assert found["recording"]["nobody"] == 2


def test_a_port_of_nobody_is_not_of_the_customer_with_a_prefix_around_the_address(tmp_path):
    (tmp_path / "mine.yaml").write_text(PACK.replace("COUNT", "20"))
    site = made.make_site(tmp_path, "./mine.yaml", more=SETTINGS)
    around = (tmp_path / "customers.yaml").read_text().replace("prefixes: [198.51.100.5]", "prefixes: [203.0.113.64/26]")
    (tmp_path / "customers.yaml").write_text(around)
    sharing(tmp_path)
    packets = [made.export(made.START + at, opened_by(port)) for at, port in ((10, 3500), (11, 1500))]
    packets.append(made.export(made.START + 12, opened_by(4000, "203.0.113.81")))
    found = body(site, made.write(tmp_path / "a.pcap", packets))["policies"][0]
    assert (found["recording"]["octets"], found["recording"]["nobody"]) == (200, 1)


def test_a_record_of_sessions_that_cannot_be_read_is_told_and_fixed_addresses_count(site, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "sessions.db").write_bytes(b"this is no database" * 100)
    path = made.write(tmp_path / "a.pcap", downloads(10, 5, made.home(1)))
    found = body(site, path)["policies"][0]
    assert found["recording"]["octets"] == 5 * 1428
    assert any("addresses given by log-in are nobody's" in note for note in found["notes"])
