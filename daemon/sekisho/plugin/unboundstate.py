"""What Unbound's Python interface does not show of a query: whether it came over TCP, and how to leave it unanswered.

Owns the two places of Unbound's memory that are looked at, each known for a release of Unbound and checked where it can be
before it is believed. In a release that is not listed, on a machine of another word, or where a state is not as it should be,
nothing is touched: silence is then REFUSED, and queries count as UDP's. The log says so, once.
"""

from __future__ import annotations

import ctypes
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_RELEASE = re.compile(rb"\0unbound (\d+\.\d+\.\d+)\0")
_WORD, _CELL = 8, 4


@dataclass(frozen=True, slots=True)
class _Places:
    """Offsets in bytes."""

    gap: int
    """From a state's options for the client to the end of the state, where its list of clients follows; `is_drop` is last."""
    descriptor: int
    """Of the socket in a `comm_point`, the first word of a client names one."""


_KNOWN = {"1.17.1": _Places(gap=56, descriptor=24)}


class Insides:
    """The insides of the Unbound this process is."""

    def __init__(self, log: Callable[[str], None], program: Path = Path("/proc/self/exe")) -> None:
        found = _RELEASE.search(program.read_bytes())
        release = found[1].decode() if found else "of an unknown release"
        self._places = _KNOWN.get(release)
        self._log = log
        if self._places is None or ctypes.sizeof(ctypes.c_void_p) != _WORD:
            self._give_up(f"Unbound {release}")
        self._getsockopt = ctypes.PyDLL(None).getsockopt
        self._kind, self._size = ctypes.c_int(), ctypes.c_uint(_CELL)
        self._into, self._room = ctypes.byref(self._kind), ctypes.byref(self._size)

    def _give_up(self, what: str) -> None:
        self._places = None
        self._log(
            f"{what} is not known well enough to leave queries unanswered: who is to have silence gets REFUSED, and queries over TCP"
            f" count as UDP's ({', '.join(_KNOWN)} is known)"
        )

    def is_stream(self, client: Any) -> bool:
        """Whether a client's query came over TCP or TLS."""
        if self._places is None:
            return False
        point = ctypes.c_uint64.from_address(int(client.this)).value
        descriptor = ctypes.c_int.from_address(point + self._places.descriptor).value
        self._kind.value = 0
        self._getsockopt(descriptor, socket.SOL_SOCKET, socket.SO_TYPE, self._into, self._room)
        return self._kind.value == socket.SOCK_STREAM

    def drop(self, state: Any) -> None:
        """Have Unbound send no answer, if its state looks as it should."""
        if self._places is None:
            return
        end = int(state.edns_opts_front_out) + self._places.gap
        clients = ctypes.c_uint64.from_address(end).value
        mark = ctypes.c_int.from_address(end - _CELL)
        if clients != int(state.mesh_info.reply_list.this):
            self._give_up("this build of Unbound")
        elif mark.value == 0:
            mark.value = 1
