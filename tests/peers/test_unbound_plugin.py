"""The checkpoint in Unbound: no answer crosses over to another customer, swaps and absences of tables, what is counted."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import dns.message
import dns.query
import pytest

from scenarios.harness import Resolver, folders
from sekisho.drivers.hitrings import HitRings
from sekisho.drivers.maps import Head
from sekisho.drivers.sharedfiles import make_folder
from sekisho.drivers.tablereader import TableReader
from sekisho.drivers.tables import TableWriter
from sekisho.model.counters import Counter
from sekisho.model.customers import Prefix
from sekisho.snapshot.build import Garden, build
from support import require_binary, wait_until
from support.differential.fronts import Front, Place, follow, unbound
from support.differential.model import ANSWERED, SILENCE
from support.differential.world import ALLOWED, Question
from support.plane import GROUNDS, KEY, PAGE, CustomerRow, at, compile_entries, definition, entry, profile, rule

pytestmark = [pytest.mark.peers, pytest.mark.slow]

ENTITLED, OPTED_OUT, SILENCED = "127.40.0.1", "127.40.0.2", "127.40.0.3"
PEOPLE = (
    CustomerRow("entitled", at(ENTITLED), 0b1, 0),
    CustomerRow("opted-out", at(OPTED_OUT), 0, 0),
    CustomerRow("silenced", at(SILENCED), 0b1, 0, silenced=True, measure=1),
)


def publish(writer: TableWriter, epoch: int, *names: str) -> None:
    held = [(definition(0), compile_entries([entry(name) for name in names]))]
    terms = [profile(rule("gunma/別記-1"))]
    writer.publish_snapshot(build(epoch, held, terms, [], KEY, grounds=GROUNDS, garden=Garden(PAGE)), epoch)


@dataclass
class Stand:
    place: Place
    writer: TableWriter


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with Resolver().running() as resolver, folders(tmp_path_factory.mktemp("plugin")) as (folder, runtime):
        tables = runtime / "plane"
        make_folder(tables)
        (folder / "list.key").write_bytes(bytes(range(16)))
        writer = TableWriter(tables)
        publish(writer, 1, "c2.example")
        writer.replace_customers(PEOPLE, [Prefix.parse(ALLOWED)], 3)
        yield Stand(Place(folder, tables, folder / "list.key", resolver.port), writer)


@pytest.fixture(scope="module")
def front(stand: Stand) -> Iterator[Front]:
    with unbound(stand.place) as one:
        yield one


def ask(front: Front, source: str, name: str, *, tcp: bool = False, patience: float = 60.0, **options: object):
    return front.ask(Question(source, name, "A", tcp=tcp, edns=True), patience)


def test_an_answer_for_one_customer_never_reaches_another(front: Front) -> None:
    """Cached by whoever may see it, asked at the same moment by all, with CD too: each has their own."""
    for _ in range(3):
        assert ask(front, OPTED_OUT, "www.c2.example") == ANSWERED
        assert ask(front, ENTITLED, "www.c2.example").rcode == 3
        assert ask(front, SILENCED, "www.c2.example", patience=0.5) == SILENCE
    query = dns.message.make_query("www.c2.example", "A")
    query.flags |= 0x0010
    assert dns.query.udp(query, "127.0.0.1", port=front.port, source=ENTITLED, timeout=60).rcode() == 3, "checking disabled"
    sources = [ENTITLED, OPTED_OUT] * 40
    with ThreadPoolExecutor(16) as pool:
        names = [f"n{number // 8}.c2.example" for number in range(len(sources))]
        got = list(pool.map(lambda pair: ask(front, *pair), zip(sources, names, strict=True)))
    assert [one.rcode for one in got[::2]] == [3] * 40
    assert got[1::2] == [ANSWERED] * 40


def test_what_the_plugin_decided_reaches_counts_and_record_as_a_workers_does(stand: Stand, front: Front) -> None:
    rings, reader = HitRings(stand.place.tables), TableReader(stand.place.tables)
    rings.drain(65536)
    before = reader.observe()
    assert ask(front, ENTITLED, "counted.c2.example").rcode == 3
    assert ask(front, ENTITLED, "counted.c2.example", tcp=True).rcode == 3
    assert ask(front, SILENCED, "x.example", patience=0.5) == SILENCE
    rows, taken, lost = rings.drain(65536)
    assert (rows.queries, taken, lost) == (2, 2, 0)
    assert (rows.customers, rows.clauses, rows.lists) == (("entitled",), ("gunma/別記-1",), ("list-0",))
    wait_until(
        lambda: reader.observe().totals[Counter.STEP_SILENCED] > before.totals[Counter.STEP_SILENCED], what="the silenced query counted"
    )
    after = reader.observe()
    grown = {counter: after.totals[counter] - before.totals[counter] for counter in Counter}
    assert grown[Counter.STEP_ENTITLED] == 2
    assert grown[Counter.QUERIES_TCP4] == 1
    assert grown[Counter.STEP_SILENCED] == 1
    assert after.workers_alive == 0, "a plugin is no worker of the plane"
    assert after.per_rule["gunma/別記-1"] - before.per_rule.get("gunma/別記-1", 0) == 2


def test_swaps_and_opt_outs_are_followed_without_a_reload(stand: Stand, front: Front) -> None:
    assert ask(front, ENTITLED, "later.example.net") == ANSWERED
    publish(stand.writer, 2, "c2.example", "later.example.net")
    follow(stand.place, [front], 2, Head(stand.place.tables).generation)
    assert ask(front, ENTITLED, "later.example.net").rcode == 3, "cached before, listed now"
    stand.writer.set_mask("entitled", 0)
    assert ask(front, ENTITLED, "later.example.net") == ANSWERED, "an opt-out needs no swap"
    stand.writer.set_mask("entitled", 1)
    assert ask(front, ENTITLED, "later.example.net").rcode == 3


def test_damaged_tables_are_refused_and_the_last_good_ones_stay(stand: Stand, front: Front) -> None:
    before = Head(stand.place.tables).epoch
    data = bytearray((stand.place.tables / f"snapshot-{before}").read_bytes())
    data[-1] ^= 1
    stand.writer.publish_snapshot(bytes(data), 90)
    wait_until(lambda: "last good tables stay" in front.log.read_text(), what="the refusal in the log")
    assert ask(front, ENTITLED, "www.c2.example").rcode == 3
    publish(stand.writer, 91, "c2.example")
    follow(stand.place, [front], 91, Head(stand.place.tables).generation)
    assert front.log.read_text().count("fails its checksum") == 1, "said once"


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("trouble", ["absent", "version"])
def test_without_tables_it_fails_as_configured_and_says_so_once(tmp_path: Path, closed: bool, trouble: str) -> None:
    with Resolver().running() as resolver, contextlib.ExitStack() as running:
        tables = tmp_path / "plane"
        (tmp_path / "list.key").write_bytes(bytes(range(16)))
        make_folder(tables)
        if trouble == "version":
            writer = TableWriter(tables)
            publish(writer, 1, "c2.example")
            writer.replace_customers(PEOPLE, [Prefix.parse(ALLOWED)], 3)
            path = tables / "snapshot-1"
            data = bytearray(path.read_bytes())
            data[12] += 1
            path.write_bytes(data)
        place = Place(tmp_path, tables, tmp_path / "list.key", resolver.port)
        wanted = 2 if closed else 0
        front = running.enter_context(unbound(place, closed=closed, rcode=wanted))
        for _ in range(5):
            assert ask(front, ENTITLED, "www.c2.example").rcode == wanted
            time.sleep(0.11)  # a look at the head passes, which must not say it again
        said = [line for line in front.log.read_text().splitlines() if "sekisho:" in line]
        assert len(said) == 1, said
        assert ("refused" if closed else "let through") in said[0]
        writer = TableWriter(tables)
        publish(writer, 5, "c2.example")
        writer.replace_customers(PEOPLE, [Prefix.parse(ALLOWED)], 3)
        wait_until(lambda: ask(front, ENTITLED, "www.c2.example").rcode == 3, what="the tables taken once they are there")


def test_a_reload_of_unbound_keeps_the_checkpoint(stand: Stand) -> None:
    with unbound(stand.place, control=True) as one:
        assert ask(one, ENTITLED, "www.c2.example").rcode == 3
        config = next(stand.place.folder.glob(f"unbound-{one.port}.conf"))
        for _ in range(2):
            done = subprocess.run(["unbound-control", "-c", str(config), "reload"], capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            assert ask(one, ENTITLED, "www.c2.example").rcode == 3
            assert ask(one, OPTED_OUT, "www.c2.example") == ANSWERED


def test_with_a_validator_no_answer_crosses_over_either(stand: Stand) -> None:
    with unbound(stand.place, validating=True) as one:
        for _ in range(3):
            assert ask(one, OPTED_OUT, "www.c2.example") == ANSWERED
            assert ask(one, ENTITLED, "www.c2.example").rcode == 3
            assert ask(one, SILENCED, "www.c2.example", patience=0.5) == SILENCE


def test_a_release_that_is_not_known_is_left_alone_and_silence_is_refused_which_the_log_says_once(stand: Stand, tmp_path: Path) -> None:
    """The installed program under another version: nothing of its memory is believed."""
    installed = Path(require_binary("unbound")).read_bytes()
    assert installed.count(b"\0unbound 1.17.1\0") == 1, "another release is installed: is it in the table of known ones?"
    program = tmp_path / "unbound"
    program.write_bytes(installed.replace(b"\0unbound 1.17.1\0", b"\0unbound 1.99.9\0"))
    program.chmod(0o755)
    with unbound(stand.place, program=str(program)) as one:
        for _ in range(2):
            for tcp in (False, True):
                assert ask(one, SILENCED, "www.c2.example", tcp=tcp).rcode == 5
                assert ask(one, ENTITLED, "www.c2.example", tcp=tcp).rcode == 3
                assert ask(one, OPTED_OUT, "www.c2.example", tcp=tcp) == ANSWERED
        said = [line for line in one.log.read_text().splitlines() if "not known well enough" in line]
        assert len(said) == 1, said
        assert "sekisho: Unbound 1.99.9 is" in said[0]
        assert "REFUSED" in said[0]


def test_what_unbound_answers_before_its_modules_comes_before_the_checkpoint(stand: Stand) -> None:
    """As the table of what it cannot express has it: local data, queries without RD, and TCP clients who are cut off for silence."""
    with unbound(stand.place, more='local-zone: "early.c2.example." static\n    local-data: "early.c2.example. A 203.0.113.99"') as one:
        assert ask(one, SILENCED, "www.c2.example", patience=0.5) == SILENCE
        assert {data for _, _, data in ask(one, SILENCED, "early.c2.example").records} == {bytes((203, 0, 113, 99))}
        query = dns.message.make_query("www.c2.example", "A")
        query.flags &= ~0x0100
        assert dns.query.udp(query, "127.0.0.1", port=one.port, source=SILENCED, timeout=60).rcode() == 5
        with pytest.raises(EOFError):
            dns.query.tcp(dns.message.make_query("www.c2.example", "A"), "127.0.0.1", port=one.port, source=SILENCED, timeout=60)
