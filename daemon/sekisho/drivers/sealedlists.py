"""Sealed lists: fetched and compiled by a process of their own, so that their text never comes into the daemon's.

Owns that process: its start, its deadline, its end, and the octets exchanged with it. It is a fresh
program (`sealedchild`), no copy of the daemon, and ends after one list; with it goes all memory the
text was in. The order, which has the list key, goes in by a pipe; by another comes what the daemon may
have: the compiled list (keyed digests), its report, or a sentence that says what failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
import pickle
import signal
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sekisho.drivers.compilecache import CODE_VARIABLE
from sekisho.drivers.feeds import TOTAL_FACTOR, is_local, is_unchanged
from sekisho.drivers.listsources import Order
from sekisho.drivers.listversions import NOTHING, Stored, decode_version
from sekisho.lists.policyzone import MOST_RECORDS
from sekisho.lists.rows import MOST
from sekisho.model.errors import FeedError, TableError
from sekisho.model.lists import ListDefinition, ListFormat

COMMAND = (sys.executable, "-P", "-m", "sekisho.drivers.sealedchild")

ROOM = 300.0
"""Seconds a list may take beyond its fetching: to start the process, which compiles code the first time, and to compile the list."""

AT_ONCE = 4
"""Processes that run at the same time: each takes a core and the memory of a list."""

HEADER = struct.Struct("<8sBQ")
"""Before an answer: MAGIC, `Outcome`, octets that follow."""
MAGIC = b"SEALED\0\1"

ROOM_OCTETS = 1 << 20
"""Octets of an answer besides what is in the list: its report, and the heads of what follows."""
ENTRY_OCTETS, SHORTEST_ENTRY = 26, 4
"""Octets of a compiled entry of a sealed list; of the text of the shortest one of any format."""
RECORD_OCTETS, SHORTEST_RECORD = 1100, 8
"""Octets of a record of local data besides twice its text, since a letter may stand for a name, and of the text of the shortest one."""

_CHUNK = 1 << 18
_SHOWN = 1000
"""Characters of a sentence that are kept."""

_PROGRAMS = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
_SITE = ("HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")


class Outcome(enum.IntEnum):
    """What an answer is."""

    UNCHANGED = 0
    VERSION = 1
    """An encoded version (`listversions`) follows."""
    FAILED = 2
    """A sentence follows."""


def largest_answer(definition: ListDefinition) -> int:
    """Octets an answer may have: no list of this `max_bytes`, within the bounds of any list, is compiled to more."""
    octets = ROOM_OCTETS + ENTRY_OCTETS * min(MOST, definition.max_bytes // SHORTEST_ENTRY + 1)
    if definition.format in (ListFormat.RPZ, ListFormat.AXFR):
        octets += 2 * definition.max_bytes + RECORD_OCTETS * min(MOST_RECORDS, definition.max_bytes // SHORTEST_RECORD + 1)
    return octets


class SealedLists:
    """Starts the processes that fetch and compile sealed lists. Belongs to one event loop."""

    def __init__(self, command: Sequence[str] = COMMAND, *, room: float = ROOM) -> None:
        """`room`: see ROOM."""
        self._command = tuple(command)
        self._room = room
        self._free = asyncio.Semaphore(AT_ONCE)

    async def obtain(self, order: Order) -> Stored | None:
        """The source's version, or None if it says what it said. Raises FeedError, never with a name of the list.

        Cancelled, it leaves no process behind.
        """
        definition = order.definition
        if order.known is not None and is_local(definition) and await asyncio.to_thread(is_unchanged, definition, order.known):
            return None
        if order.base is not None:
            # A sealed zone is never transferred by differences: its serial is all there is to know.
            order = replace(order, base=replace(order.base, compiled=NOTHING))
        async with self._free:
            answer, code = await self._ask(order)
        return await asyncio.to_thread(_understood, answer, code, order)

    async def _ask(self, order: Order) -> tuple[bytearray, int]:
        """What the process answered, and its exit code."""
        definition = order.definition
        seconds = definition.timeout * TOTAL_FACTOR + self._room
        largest = largest_answer(definition)
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                # A traceback would show lines of the list.
                stderr=asyncio.subprocess.DEVNULL,
                env=_environment(os.environ),
                # Ctrl-C is for the daemon, which ends it.
                start_new_session=True,
            )
        except OSError as error:
            raise FeedError(
                f"the process for this sealed list cannot be started ({error.strerror}); give the daemon more memory, processes or files"
            ) from None
        try:
            async with asyncio.timeout(seconds):
                answer = await _exchange(process, pickle.dumps((os.getpid(), order)), largest)
                return answer, await process.wait()
        except TimeoutError:
            raise FeedError(
                f"fetching and compiling it took longer than {seconds:g} s and was ended; "
                "set a longer `timeout` of the list if its source is that slow"
            ) from None
        finally:
            await _end(process)


async def _exchange(process: asyncio.subprocess.Process, request: bytes, largest: int) -> bytearray:
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        # One that ended before it read all of it says why by its exit code.
        process.stdin.write(request)
        await process.stdin.drain()
        process.stdin.close()
        await process.stdin.wait_closed()
    answer = bytearray()
    while chunk := await process.stdout.read(_CHUNK):
        answer += chunk
        if len(answer) > largest:
            raise FeedError(f"compiled it is larger than {largest} octets; set a larger `max_bytes` of the list if it should be")
    return answer


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the process if it has not, and take leave of it: then nothing of it is left in the loop or the kernel."""
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            # Not `process.kill`: it would take the exit code away from the loop, should there be one by now.
            os.kill(process.pid, signal.SIGKILL)
    if process.stdin is not None:
        process.stdin.close()
    while await process.stdout.read(_CHUNK):
        pass
    await process.wait()


def _understood(answer: bytearray, code: int, order: Order) -> Stored | None:
    """The meaning of an answer. Raises FeedError."""
    if code < 0:
        raise FeedError(
            f"the process that compiles this sealed list was ended by {_signal(-code)}; "
            "if memory ran out (`dmesg` tells), give the machine more; the list in force stays and is fetched again"
        )
    body = memoryview(answer)[HEADER.size :]
    whole = len(answer) >= HEADER.size and answer.startswith(MAGIC) and HEADER.unpack_from(answer)[2] == len(body)
    if code or not whole:
        raise _no_answer(order, f"ended with exit code {code} and {'an' if whole else 'no whole'} answer")
    match HEADER.unpack_from(answer)[1]:
        case Outcome.UNCHANGED:
            return None
        case Outcome.FAILED:
            text = bytes(body).decode(errors="replace")[:_SHOWN]
            raise FeedError("".join(char if char.isprintable() else " " for char in text))
        case Outcome.VERSION:
            return _version(body, order)
        case _:
            raise _no_answer(order, "gave an answer of no known kind")


def _version(body: memoryview, order: Order) -> Stored:
    try:
        # A copy: behind the header its arrays would lie aslant in memory.
        stored = decode_version(bytearray(body), order.now)
    except TableError:
        raise _no_answer(order, "gave a damaged list") from None
    if len(stored.compiled.names) or len(stored.compiled.offsets):
        raise _no_answer(order, "gave a list with names")
    return replace(stored, identity=order.identity)


def _no_answer(order: Order, what: str) -> FeedError:
    again = f"`sekisho lists refresh {order.definition.id}` tries again; please report it if it stays so"
    return FeedError(f"the process that compiles this sealed list {what}; the list in force stays; {again}")


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What the process is given of our environment: where programs, certificates, proxies and compiled code are."""
    kept = {
        key: value
        for key, value in environ.items()
        if key in (*_PROGRAMS, *_SITE, CODE_VARIABLE) or key.startswith("NUMBA_") or key.lower().endswith("_proxy")
    }
    # It computes on one core; a thread for every core would only have to be started.
    return kept | {"OPENBLAS_NUM_THREADS": "1"}
