"""Packets the kernel had no room for, of sockets that somebody else has: by the addresses they listen on.

Owns reading /proc/net/udp and udp6 (proc_net_udp(5)), and that the sum goes on when a process ends and another one listens.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterable
from pathlib import Path

from sekisho.config.values import Endpoint

TABLES = (Path("/proc/net/udp"), Path("/proc/net/udp6"))
_LOCAL, _INODE, _DROPS = 1, 9, 12


class SocketDrops:
    """Of all sockets that ever listened on the addresses asked for, since the first look."""

    def __init__(self, tables: Iterable[Path] = TABLES) -> None:
        self._tables = tuple(tables)
        self._seen: dict[str, int] = {}
        """Drops of a socket, by its inode."""
        self._total = 0

    def look(self, endpoints: Iterable[Endpoint]) -> int:
        """Packets dropped so far; what the kernel does not tell counts nothing. Within the network namespace of this process."""
        wanted = {_written(one) for one in endpoints}
        found: dict[str, int] = {}
        for table in self._tables:
            with contextlib.suppress(OSError, ValueError, IndexError):
                for line in table.read_text("ascii").splitlines()[1:]:
                    fields = line.split()
                    if fields[_LOCAL] in wanted:
                        found[fields[_INODE]] = int(fields[_DROPS])
        self._total += sum((drops - self._seen.get(inode, 0)) & 0xFFFFFFFF for inode, drops in found.items())
        self._seen = found
        return self._total


def _written(endpoint: Endpoint) -> str:
    """An address and port as the kernel writes them: words of the machine's order."""
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    packed = socket.inet_pton(family, endpoint.host.partition("%")[0])
    words = (int.from_bytes(packed[at : at + 4], sys.byteorder) for at in range(0, len(packed), 4))
    return "".join(f"{word:08X}" for word in words) + f":{endpoint.port:04X}"
