"""The same questions from the same customers get the same verdict from every front.

`make differential` asks hundreds of seeds (SEEDS=300 FIRST_SEED=0) and one world of a thousand questions; the suite asks a few seeds.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest

from scenarios.harness import folders
from sekisho.drivers.maps import Head
from sekisho.drivers.sharedfiles import BUDGETS, make_folder, map_table
from sekisho.drivers.tables import TableWriter
from sekisho.model.lists import ActionKind
from sekisho.snapshot import layout
from sekisho.snapshot.sections import Kind
from support import has_ipv6
from support.differential.directed import OTHERWISE, QUESTIONS, directed_world
from support.differential.fronts import FRONTS, Asked, Front, Place, follow
from support.differential.limits import said_by, said_by_zones
from support.differential.model import SILENCE, Record, Verdict, customer_of, expected
from support.differential.policyzones import PORTS, Publication, free_ports, publishing, rpz_front
from support.differential.upstream import answering
from support.differential.world import Question, World, make_world, spend

pytestmark = [pytest.mark.peers, pytest.mark.slow]

SEEDS = range(int(os.environ.get("FIRST_SEED", "0")), int(os.environ.get("FIRST_SEED", "0")) + int(os.environ.get("SEEDS", "2")))
CHOSEN = [name for name in os.environ.get("FRONTS", ",".join([*FRONTS, *PORTS])).split(",") if name]
PATIENCE, QUIET = 10.0, 0.4
THOUSAND = 147
"""The seed of the world that is asked a thousand questions: with opt-outs, measures, spent budgets, sealed lists, shared addresses,
and prefixes of clients and answers."""
LONG = 120
"""Characters of a name that stands twice in an answer of 512 octets beside a text of 202, and leaves no room."""


@dataclass
class Stand:
    """All fronts on one folder of tables, and who writes them."""

    place: Place
    writer: TableWriter
    fronts: list[Asked]
    """Those that read the tables."""
    publication: Publication
    resolvers: list[Front]
    """Those that read policy zones."""
    epoch: int = 1

    def enter(self, world: World) -> None:
        """Put a world in force at every front."""
        self.epoch += 1
        world.publish(self.writer, self.epoch)
        self.publication.publish(world, self.epoch)
        if self.resolvers:
            with ThreadPoolExecutor(len(self.resolvers)) as pool:
                list(pool.map(self.publication.follow, self.resolvers))
        follow(self.place, self.fronts, self.epoch, Head(self.place.tables).generation)
        self.spend(world)

    def spend(self, world: World) -> None:
        if not self.fronts:
            return  # nobody has made the table
        full = map_table(self.place.tables / BUDGETS, Kind.BUDGETS, layout.BUDGETS_VERSION, writable=True).arrays["full"]
        spend(world, self.writer.rows, full, time.monotonic_ns())


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with contextlib.ExitStack() as running:
        upstream = running.enter_context(answering())
        folder, runtime = running.enter_context(folders(tmp_path_factory.mktemp("differential")))
        tables = runtime / "plane"
        make_folder(tables)
        writer = TableWriter(tables)
        (folder / "list.key").write_bytes(bytes(range(16)))
        (folder / "list.key").chmod(0o600)
        make_world(10**9).publish(writer, 1)
        place = Place(folder, tables, folder / "list.key", upstream)
        fronts = [running.enter_context(FRONTS[name](place)) for name in CHOSEN if name in FRONTS]
        ports = free_ports(CHOSEN)
        publication = running.enter_context(publishing(folder, ports))
        publication.publish(make_world(10**9), 1)
        resolvers = [running.enter_context(rpz_front(name, publication, place, one)) for name, one in ports.items()]
        yield Stand(place, writer, fronts, publication, resolvers)


def said_instead(front: Asked, world: World, question: Question) -> Verdict | None:
    """What a front says; None where it is not asked."""
    return said_by_zones(front.name, world, question) if front.name in PORTS else said_by(front.name, world, question)


def ask_all(stand: Stand, front: Asked, world: World, wanted: list[Verdict]) -> list[str]:
    """What a front says otherwise than it should. Budgets run full again with time, so who is over one asks a few at a time."""
    differences = []

    def one(pair: tuple[Question, Verdict]) -> str | None:
        question, verdict = pair
        if ":" in question.source and not has_ipv6():
            return None
        said = said_instead(front, world, question)
        if said is None:
            return None
        verdict = said
        got = front.ask(question, QUIET if verdict == SILENCE else PATIENCE)
        if got == SILENCE != verdict:
            # The one resolver behind all fronts may have been busy: a client asks again.
            got = front.ask(question, PATIENCE)
        if got.tc and not verdict.tc and not question.edns and len(question.name) > LONG:
            # BIND compresses an owner of another spelling than the question's not at all: the answer is over 512 octets.
            got = front.ask(replace(question, tcp=True), PATIENCE)
        if verdict.action is ActionKind.CHASE and question.tcp:
            got, verdict = Verdict(got.kind, got.rcode, records=got.records), Verdict(verdict.kind, verdict.rcode, records=verdict.records)
        if got == verdict:
            return None
        return f"seed {world.seed}, {front.name}: {question}\n  wanted {verdict}\n  got    {got}"

    pairs = list(zip(world.questions, wanted, strict=True))
    askers = (customer_of(world, question.source) for question in world.questions)
    spent = [asker is not None and asker.id in world.over and front not in stand.resolvers for asker in askers]
    few, rest = ([pair for pair, over in zip(pairs, spent, strict=True) if over is which] for which in (True, False))
    with ThreadPoolExecutor(8) as pool:
        differences += [found for found in pool.map(one, rest) if found]
        for start in range(0, len(few), 16):
            stand.spend(world)
            differences += [found for found in pool.map(one, few[start : start + 16]) if found]
    return differences


def test_each_row_of_the_table_of_what_fronts_cannot_express_is_true(stand: Stand) -> None:
    """And nothing else: a front that came to say what it could not, or no longer says what it could, is a difference."""
    world = directed_world()
    stand.enter(world)
    wanted = [expected(world, question) for question in world.questions]
    for front in (*stand.fronts, *stand.resolvers):
        said = {what: said_instead(front, world, question) for what, question in QUESTIONS.items()}
        otherwise = {what for what, question in QUESTIONS.items() if said[what] != expected(world, question)}
        assert otherwise == OTHERWISE[front.name], f"{front.name}: what is asked is not what the table says"
        differences = ask_all(stand, front, world, wanted)
        assert not differences, "\n".join(differences)


def test_which_of_several_addresses_decides_is_by_chance_on_recursor_alone(stand: Stand) -> None:
    """Why the generator does not ask it there: it puts them into its cache in any order, and the first that a zone holds decides."""
    stand.enter(directed_world())
    source = QUESTIONS["several addresses"].source

    def seen(front: Front) -> set[frozenset[Record]]:
        asked = (front.ask(Question(source, f"twin.n{number}.example", "A", tcp=False, edns=False), PATIENCE) for number in range(60))
        found: set[frozenset[Record]] = set()
        for verdict in asked:
            found.add(verdict.records)
            if len(found) > 1:
                break
        return found

    said = {front.name: len(seen(front)) for front in stand.resolvers if front.name in {"rpz-bind", "rpz-recursor"}}
    assert said == {name: count for name, count in (("rpz-bind", 1), ("rpz-recursor", 2)) if name in CHOSEN}


def differences_of_all(stand: Stand, world: World) -> list[str]:
    """What fronts say of a world otherwise than they should."""
    stand.enter(world)
    wanted = [expected(world, question) for question in world.questions]
    differences: list[str] = []
    # One kind after the other: all at once are more than the one resolver behind them takes.
    for fronts in filter(None, (stand.fronts, stand.resolvers)):
        with ThreadPoolExecutor(len(fronts)) as pool:
            differences += [one for found in pool.map(lambda front: ask_all(stand, front, world, wanted), fronts) for one in found]
    return differences


@pytest.mark.parametrize("seed", SEEDS)
def test_every_front_gives_the_verdict_of_the_model(stand: Stand, seed: int) -> None:
    differences = differences_of_all(stand, make_world(seed))
    assert not differences, "\n".join(differences[:6])


@pytest.mark.skipif("SEEDS" not in os.environ, reason="half a minute: asked by `make differential`")
def test_the_same_thousand_questions_get_the_same_verdict_everywhere(stand: Stand) -> None:
    """From the gateway, the resolvers with a checkpoint in them, and those fed over zone transfer: from the same customers."""
    world = make_world(THOUSAND, questions=900)
    assert len(world.questions) >= 1000
    assert len({question.source for question in world.questions}) > len(world.customers)
    differences = differences_of_all(stand, world)
    assert not differences, f"{len(differences)} differences\n" + "\n".join(differences[:6])
