"""Sealed lists in a process of their own: the same result, no name beside it, and no process left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sekisho.drivers.feeds import Feeds, Validators
from sekisho.drivers.listsources import Order, obtain
from sekisho.drivers.liststore import ListStore
from sekisho.drivers.listversions import Identity, Stored, encode_version
from sekisho.drivers.sealedlists import HEADER, MAGIC, Outcome, SealedLists
from sekisho.drivers.transfer import Base
from sekisho.lists import idn
from sekisho.model.errors import FeedError
from sekisho.model.lists import ListDefinition, ListFormat, Scope
from sekisho.snapshot.digest import digest_name, key_of
from support import Primary, wait_until

SECRET = bytes(range(100, 116))
KEY = key_of(SECRET)
MARK = "unmistakable-mark"
PROTECTED = idn.to_wire("protected.example")
FEEDS = {
    ListFormat.DOMAINS: f"{MARK}.example\nbücher.{MARK}.example\nno name {MARK}\nprotected.example\ncom\n",
    ListFormat.HOSTS: f"0.0.0.0 {MARK}.example other.example\n0.0.0.0 {MARK}..example\n",
    ListFormat.ADBLOCK: f"||{MARK}.example^\n@@||not.{MARK}.example^\n||{MARK}.example^$third-party\n",
    ListFormat.CSV: f"id,name\n1,{MARK}.example\n2,\n3,日本.{MARK}.example\n",
    ListFormat.JSON: f'[{{"name": "{MARK}.example"}}, {{"name": 7}}]',
    ListFormat.RPZ: f"$ORIGIN rpz.test.\n@ 300 SOA a. b. 1 1 1 1 1\n{MARK}.example CNAME .\n*.{MARK}.example A 192.0.2.7\n{MARK} A x\n",
}


def definition(source: object, form: ListFormat = ListFormat.DOMAINS, **options: Any) -> ListDefinition:
    own = {ListFormat.CSV: {"column": "name"}, ListFormat.JSON: {"column": "name"}, ListFormat.RPZ: {"zone": "rpz.test."}}
    if form not in (ListFormat.RPZ, ListFormat.AXFR):
        options = {"scope": Scope.EXACT} | options
    return ListDefinition("sealed", 0, "child-abuse", str(source), form, sealed=True, **own.get(form, {}) | options)  # type: ignore[arg-type]


def order(one: ListDefinition, **options: Any) -> Order:
    protected = frozenset({PROTECTED})
    return Order(one, Identity.of(one, KEY, protected), KEY, protected, 1000.0, **options)


def programme(code: str) -> tuple[str, ...]:
    """A process that reads its order and then does something else."""
    return sys.executable, "-I", "-S", "-c", f"import os, sys, time; sys.stdin.buffer.read(); out = sys.stdout.buffer; {code}"


def told(tmp_path: Path, command: tuple[str, ...], **options: Any) -> str:
    """The error of a process that does not do its work; it is gone then."""

    async def story() -> str:
        with pytest.raises(FeedError) as caught:
            await SealedLists(command, **options).obtain(order(definition(tmp_path / "feed", timeout=0.01, max_bytes=1)))
        assert own_children() == []
        return str(caught.value)

    return asyncio.run(story())


OTHERS = set[int]()
"""Processes that ran before a test began."""


@pytest.fixture(autouse=True)
def _others() -> None:
    OTHERS.clear()
    OTHERS.update(children())


def own_children() -> list[int]:
    return [child for child in children() if child not in OTHERS]


def children(process: int | str = "self") -> list[int]:
    found: list[int] = []
    for thread in Path(f"/proc/{process}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            found += map(int, (thread / "children").read_text().split())
    return found


def alike(one: Stored | None, other: Stored | None) -> bool:
    assert one is not None
    assert other is not None
    for name in ("digests", "triggers", "exact", "below", "depths", "names", "offsets"):
        left, right = getattr(one.compiled, name), getattr(other.compiled, name)
        assert left.dtype == right.dtype
        assert np.array_equal(left, right), name
    assert one.compiled.actions == other.compiled.actions
    assert (one.report, one.validators, one.serial) == (other.report, other.validators, other.serial)
    assert (one.identity, one.fetched_at) == (other.identity, other.fetched_at)
    return True


def test_the_result_is_the_one_of_compiling_it_here_for_every_format(tmp_path: Path) -> None:
    orders = []
    for form, text in FEEDS.items():
        path = tmp_path / f"feed.{form}"
        path.write_text(text, encoding="utf-8")
        orders.append(order(definition(path, form)))

    async def story() -> None:
        async with Feeds() as feeds:
            sealed = SealedLists()
            apart = await asyncio.gather(*(sealed.obtain(one) for one in orders))
            for one, got in zip(orders, apart, strict=True):
                assert alike(got, await obtain(one, feeds)), one.definition.format
                assert got is not None
                assert got.compiled.find(*digest_name(idn.to_wire(f"{MARK}.example"), KEY)) is not None
                assert MARK.encode() not in pickle.dumps(got)
            assert apart[0] is not None
            assert (apart[0].report.skipped, apart[0].report.refused) == (1, 2), "the guard is kept there as here"

    asyncio.run(story())


def test_a_zone_is_transferred_whole_and_only_if_its_serial_is_newer() -> None:
    with Primary("rpz.test.", [(f"{MARK}.example.rpz.test.", "CNAME .")]).running() as primary:
        first = order(definition(primary.source, ListFormat.AXFR, zone="rpz.test."))

        async def story() -> None:
            sealed = SealedLists()
            got = await sealed.obtain(first)
            assert got is not None
            assert (len(got.compiled), got.serial, primary.transfers) == (1, 1, 1)
            again = replace(first, base=Base(got.compiled, got.report, 1))
            assert await sealed.obtain(again) is None
            primary.serial, primary.records = 2, []
            newer = await sealed.obtain(again)
            assert newer is not None
            assert (len(newer.compiled), newer.serial) == (0, 2)

        asyncio.run(story())


def test_a_failure_is_told_in_the_words_of_the_source(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(FeedError, match=r"missing cannot be read \(No such file or directory\)"):
        asyncio.run(SealedLists().obtain(order(definition(missing))))


def test_an_unforeseen_error_and_stray_output_tell_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = f"def broken(*a, **k):\n    print('{MARK}', flush=True)\n    raise ValueError('{MARK}')\n"
    (tmp_path / "sitecustomize.py").write_text(
        f"import sekisho.drivers.listsources as sources\n{broken}sources.compile_feed = broken\n", encoding="ascii"
    )
    feed = tmp_path / "feed"
    feed.write_text(f"{MARK}.example\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(FeedError, match=r"ValueError in sitecustomize\.py, line 4") as caught:
        asyncio.run(SealedLists().obtain(order(definition(feed))))
    assert MARK not in str(caught.value) + "".join(capfd.readouterr())


def test_a_local_file_that_did_not_change_starts_no_process(tmp_path: Path) -> None:
    feed = tmp_path / "feed"
    feed.write_text("a.example\n")
    status = feed.stat()
    known = Validators(f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}")
    sealed = SealedLists(("/no/such/program",))
    assert asyncio.run(sealed.obtain(order(definition(feed), known=known))) is None
    feed.write_text("another.example\n")
    with pytest.raises(FeedError, match=r"cannot be started \(No such file or directory\)"):
        asyncio.run(sealed.obtain(order(definition(feed), known=known)))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("sys.exit(3)", "ended with exit code 3 and no whole answer"),
        ("os.kill(os.getpid(), 9)", "was ended by SIGKILL; if memory ran out"),
        ("os.kill(os.getpid(), 11)", "was ended by SIGSEGV"),
        ("pass", "exit code 0 and no whole answer"),
        (f"out.write(b'Traceback: {MARK}')", "exit code 0 and no whole answer"),
        (f"out.write({HEADER.pack(MAGIC, Outcome.VERSION, 100)!r} + b'{MARK}')", "exit code 0 and no whole answer"),
        (f"out.write({HEADER.pack(MAGIC, Outcome.UNCHANGED, 0)!r}); out.flush(); os._exit(5)", "exit code 5 and an answer"),
        (f"out.write({HEADER.pack(MAGIC, 77, 0)!r})", "gave an answer of no known kind"),
        (f"out.write({HEADER.pack(MAGIC, Outcome.VERSION, len(MARK))!r} + b'{MARK}')", "gave a damaged list"),
        ("out.write(bytes(3 << 20))", r"larger than \d+ octets; set a larger `max_bytes`"),
        ("time.sleep(600)", r"took longer than 0.7 s and was ended; set a longer `timeout`"),
    ],
)
def test_a_process_that_fails_is_one_sentence_and_is_gone(tmp_path: Path, code: str, words: str) -> None:
    text = told(tmp_path, programme(code), room=0.5 if "sleep" in code else 60.0)
    assert MARK not in text
    with pytest.raises(FeedError, match=words):
        raise FeedError(text)


def test_a_process_that_ends_before_it_reads_is_one_sentence(tmp_path: Path) -> None:
    text = told(tmp_path, (sys.executable, "-I", "-S", "-c", "raise SystemExit(4)"))
    assert "exit code 4" in text


def test_names_are_not_taken_even_if_they_are_handed_back(tmp_path: Path) -> None:
    feed = tmp_path / "feed"
    feed.write_text(f"{MARK}.example\n")
    open_list = order(replace(definition(feed), sealed=False))

    async def made() -> bytes:
        async with Feeds() as feeds:
            stored = await obtain(open_list, feeds)
        assert stored is not None
        return bytes(encode_version(stored))

    body = asyncio.run(made())
    answer = tmp_path / "answer"
    answer.write_bytes(HEADER.pack(MAGIC, Outcome.VERSION, len(body)) + body)
    assert "gave a list with names" in told(tmp_path, programme(f"out.write(open({str(answer)!r}, 'rb').read())"))


@contextlib.asynccontextmanager
async def silent_server() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """An address that accepts and never answers; the event is set when somebody asked."""
    asked = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readline()
            asked.set()
            await reader.read()
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/list", asked
    finally:
        server.close()
        await server.wait_closed()


def test_the_key_is_in_no_argument_and_no_environment_and_a_refresh_called_off_leaves_no_process(tmp_path: Path) -> None:
    async def story() -> None:
        async with silent_server() as (source, asked):
            store = ListStore(tmp_path / "state", KEY)
            await store.define([definition(source)])
            task = asyncio.create_task(store.refresh("sealed", 1000.0))
            async with asyncio.timeout(60):
                await asked.wait()
            (child,) = own_children()
            shown = shown_of(child)
            words = [int(word) for word in KEY]
            for form in (SECRET, SECRET.hex().encode(), *(str(word).encode() for word in words), *(b"%x" % word for word in words)):
                assert form not in shown
            assert b"sekisho.drivers.sealedchild" in shown
            assert largest_core(child) == ["0", "0"]
            assert out_of_memory_score(child) == 1000, "it ends before the daemon when memory runs out"
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert own_children() == []
            await store.close()

    asyncio.run(story())


DAEMON = """
import asyncio, sys
from sekisho.drivers.liststore import ListStore
from sekisho.model.lists import ListDefinition, ListFormat, Scope
from sekisho.snapshot.digest import key_of
from pathlib import Path

async def main():
    store = ListStore(Path(sys.argv[1]), key_of(bytes(16)))
    await store.define([ListDefinition("sealed", 0, "c", sys.argv[2], ListFormat.DOMAINS, scope=Scope.EXACT, sealed=True)])
    await store.refresh("sealed", 1000.0)

asyncio.run(main())
"""


def test_a_daemon_that_is_killed_takes_the_process_with_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with silent_server() as (source, asked):
            daemon = started(DAEMON, str(tmp_path), source)
            try:
                async with asyncio.timeout(120):
                    await asked.wait()
                (child,) = children(daemon.pid)
            finally:
                daemon.kill()
                daemon.wait()
            wait_until(lambda: is_gone(child), what="the end of the process")

    asyncio.run(story())


def started(code: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.DEVNULL)


def shown_of(process: int) -> bytes:
    """What other users may read of a process: its arguments and, if it is theirs, its environment."""
    shown = Path(f"/proc/{process}/cmdline").read_bytes()
    with contextlib.suppress(PermissionError):
        shown += Path(f"/proc/{process}/environ").read_bytes()
    return shown


def largest_core(process: int) -> list[str]:
    limits = Path(f"/proc/{process}/limits").read_text().splitlines()
    return next(line for line in limits if line.startswith("Max core")).split()[-3:-1]


def out_of_memory_score(process: int) -> int:
    return int(Path(f"/proc/{process}/oom_score_adj").read_text())


def is_gone(process: int) -> bool:
    """Whether a process ended, also if nobody reaped it yet."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_what_it_says_and_how_it_ends_change_nothing_in_force(tmp_path: Path) -> None:
    feed = tmp_path / "feed"
    feed.write_text(f"{MARK}.example\n")

    async def story() -> None:
        store = ListStore(tmp_path / "state", KEY)
        await store.define([definition(feed)])
        assert await store.refresh("sealed", 1000.0)
        again = ListStore(tmp_path / "state", KEY, sealed=SealedLists(programme("os.kill(os.getpid(), 9)")))
        await again.define([definition(feed)])
        feed.write_text(f"{MARK}.example\nanother.example\n")
        assert not await again.refresh("sealed", time.time())
        status = again.status("sealed", time.time())
        assert (status.entries, status.failures) == (1, 1)
        assert signal.Signals.SIGKILL.name in status.last_error

    asyncio.run(story())


def test_a_process_of_ours_cannot_be_looked_into() -> None:
    code = (
        "import ctypes; from sekisho.drivers.processes import keep_no_core; keep_no_core(); print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert done.stdout.strip() == "0"
