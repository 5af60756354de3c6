"""Format `addresses`: one address or prefix a line, as lists of C&C servers come (`gunma/別記-1` speaks of an address list).

`192.0.2.1`, `192.0.2.0/24`, `2001:db8::/48`. `#`, `;` and `!` start comments. An entry holds the names whose answers lead
there: every A and AAAA record of an answer is looked up.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from sekisho.lists.rows import Rows, Tally
from sekisho.lists.scan import MAX_LINE, lines_of
from sekisho.model.addresses import key_of
from sekisho.model.customers import Prefix
from sekisho.model.lists import Trigger

_COMMENT = re.compile(r"[#;!]")
_TRIGGERS = int(Trigger.EXACT | Trigger.ADDRESS)


def read(data: NDArray[np.uint8], rows: Rows, tally: Tally) -> None:
    """Read a feed into `rows`."""
    for number, start, end in lines_of(data):
        text = data[start : min(end, start + MAX_LINE)].tobytes().decode("ascii", "replace")
        word = _COMMENT.split(text, maxsplit=1)[0].strip()
        if not word:
            continue
        try:
            prefix = Prefix.parse(word)
        except ValueError:
            # Its own message would carry the line.
            tally.skip(number, "it is no address, nor a prefix with no bits set beyond its length", text)
            continue
        rows.add(key_of(prefix), number, _TRIGGERS)
