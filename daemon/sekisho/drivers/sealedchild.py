"""The process that fetches and compiles one sealed list and ends: `python -m sekisho.drivers.sealedchild`.

Started by `sealedlists` alone: an order comes by standard input, the answer goes to standard output.
Owns that nothing else leaves it. Before it reads the order it has no core file, cannot be looked into,
is killed should the daemon die, and what anything in it may print goes nowhere. It is the first the
kernel ends when memory runs out, since the daemon goes on without it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from sekisho.drivers.processes import end_with_parent, keep_no_core


def main() -> None:
    """Carry out one order. Exit code 0: there is an answer; 1: the daemon is gone."""
    _offer_to_the_kernel()
    keep_no_core()
    end_with_parent()
    output = _silence()
    request = sys.stdin.buffer.read()
    # Imported here: this process is shut before it loads what is large.
    from sekisho.drivers.listsources import place_of  # noqa: PLC0415
    from sekisho.drivers.sealedlists import HEADER, MAGIC, Outcome  # noqa: PLC0415
    from sekisho.model.errors import FeedError  # noqa: PLC0415

    try:
        outcome, body = _carry_out(request)
    except FeedError as error:
        outcome, body = Outcome.FAILED, str(error).encode()
    except Exception as error:  # noqa: BLE001 - the boundary of the process; the error's text may be the list's
        outcome, body = Outcome.FAILED, place_of(error).encode()
    with os.fdopen(output, "wb") as file:
        file.write(HEADER.pack(MAGIC, outcome, len(body)))
        file.write(body)
    # Nothing is left to be tidied up, and what is left is wiped soonest by the kernel.
    os._exit(0)


def _carry_out(request: bytes) -> tuple[int, bytes | bytearray]:
    """The answer to an order, its kind first. Raises FeedError."""
    import asyncio  # noqa: PLC0415
    import pickle  # noqa: PLC0415

    from sekisho.drivers.feeds import Feeds  # noqa: PLC0415
    from sekisho.drivers.listsources import Order, obtain  # noqa: PLC0415
    from sekisho.drivers.listversions import Stored, encode_version  # noqa: PLC0415
    from sekisho.drivers.sealedlists import Outcome  # noqa: PLC0415

    parent, order = pickle.loads(request)  # noqa: S301 - from the daemon itself, by a pipe of its own
    if os.getppid() != parent:
        os._exit(1)

    async def obtained(order: Order) -> Stored | None:
        async with Feeds() as feeds:
            return await obtain(order, feeds)

    stored = asyncio.run(obtained(order))
    return (Outcome.UNCHANGED, b"") if stored is None else (Outcome.VERSION, encode_version(stored))


def _offer_to_the_kernel() -> None:
    """When memory runs out, this process is to end and not the daemon."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")


def _silence() -> int:
    """Point both outputs nowhere; gives the descriptor of the one the answer goes to."""
    output = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    return output


if __name__ == "__main__":
    main()
