"""Format `hosts`: an address, then names that it stands for (hosts(5)).

The address is a sink and says nothing: the list's `answer` decides. The lines that give the host
itself a name, as every hosts file has, are no entries and are passed over without a word.
"""

from __future__ import annotations

import ipaddress

import numpy as np
from numpy.typing import NDArray

from sekisho.lists import domains
from sekisho.lists.hostscan import scan_hosts
from sekisho.lists.rows import Rows, Tally
from sekisho.lists.scan import cursor_at, drive, odd_text, start_of_text
from sekisho.model.lists import Scope

LOCAL = frozenset(
    {
        "localhost",
        "localhost.localdomain",
        "localhost4",
        "localhost6",
        "local",
        "broadcasthost",
        "ip6-localhost",
        "ip6-loopback",
        "ip6-localnet",
        "ip6-mcastprefix",
        "ip6-allnodes",
        "ip6-allrouters",
        "ip6-allhosts",
        "0.0.0.0",  # noqa: S104 - a line of hosts files, not a socket
    }
)
"""Names by which a hosts file calls the host and its links."""


def read(data: NDArray[np.uint8], scope: Scope, rows: Rows, tally: Tally) -> None:
    """Read a feed into `rows`."""
    plain, _ = domains.triggers_of(scope)
    cursor = cursor_at(start_of_text(data))
    for line, start, end in drive(scan_hosts, data, cursor, rows, plain):
        text = ""
        try:
            text = odd_text(data, start, end)
            _read_line(text, line, scope, rows, tally)
        except ValueError as error:
            tally.skip(line, str(error), text)


def _read_line(text: str, line: int, scope: Scope, rows: Rows, tally: Tally) -> None:
    words = text.partition("#")[0].split()
    if not words:
        return
    try:
        ipaddress.ip_address(words[0].partition("%")[0])
    except ValueError:
        raise ValueError("it does not start with an address") from None
    if len(words) == 1:
        raise ValueError("no name stands after the address")
    for word in words[1:]:
        if word.lower() in LOCAL:
            continue
        try:
            domains.add_name(word, line, scope, rows)
        except ValueError as error:
            tally.skip(line, str(error), word)
