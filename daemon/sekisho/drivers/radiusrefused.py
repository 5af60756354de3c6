"""Whose packets of accounting were refused, and why, told to who runs the network.

Owns what is remembered of them and how often the log is told. Who may send from where is the decoder's (`drivers.radiusdecode`). The
listener collects (`Refused`) and the control plane remembers (`Refusals`). Both are bounded: NASes by the configuration, and of
strangers, whose addresses anyone can make up, no more than `STRANGERS` are known and `LOGGED` told to the log in an hour.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sekisho.model.sessions import AccountingFault

STRANGERS = 32
"""Addresses of no NAS that are remembered; those heard of longest ago go first."""
LOGGED = 20
"""Addresses of no NAS that the log is told of in an hour at most."""
AGAIN = 3600.0
"""Seconds after which the log is told of the same again."""
LATELY = 86400.0
"""Seconds for which a refusal is shown."""

_Key = tuple[str, str]


class Refused:
    """What one listener refused since it last told."""

    def __init__(self) -> None:
        self._found: dict[_Key, tuple[str, str, AccountingFault, int]] = {}
        self._strangers = 0

    def add(self, nas: str, source: str, why: AccountingFault) -> None:
        """`nas`: the ids the packet is of, empty: of no NAS."""
        key = (nas, why.value) if nas else ("", source)
        known = self._found.get(key)
        if known is None and not nas:
            if self._strangers >= STRANGERS:
                return
            self._strangers += 1
        self._found[key] = (nas, source, why, 1 + (known[3] if known is not None else 0))

    def take(self) -> list[list[Any]]:
        """Rows for `Refusals.merge`, once."""
        rows = [[nas, source, why.value, count] for nas, source, why, count in self._found.values()]
        self._found, self._strangers = {}, 0
        return rows


@dataclass(slots=True)
class Refusal:
    """Packets refused for one reason: of a NAS, or of an address that is no NAS's (`nas` empty)."""

    nas: str
    source: str
    """The address the last of them came from."""
    why: AccountingFault
    packets: int
    last: float
    logged: float | None = None


class Refusals:
    """What is remembered. Times are UNIX seconds."""

    def __init__(self) -> None:
        self._nases: dict[_Key, Refusal] = {}
        self._strangers: OrderedDict[str, Refusal] = OrderedDict()
        self._logged: list[float] = []
        """When the log was told of strangers within the last hour."""

    def merge(self, rows: Sequence[Sequence[Any]], now: float) -> list[Refusal]:
        """What a listener told; gives those the log is to be told of now."""
        found: list[Refusal] = []
        for nas, source, word, count in rows:
            one = self._known(nas, source, AccountingFault(word), now)
            one.packets += count
            if (one.logged is None or one.logged + AGAIN <= now) and (nas or self._may_log(now)):
                one.logged = now
                found.append(one)
        return found

    def lately(self, now: float) -> list[Refusal]:
        """Those of the NASes, and then of strangers, the latest first."""
        nases = sorted(self._nases.values(), key=lambda one: one.last, reverse=True)
        return [one for one in [*nases, *reversed(self._strangers.values())] if one.last > now - LATELY]

    def standing(self, heard: Mapping[str, float], now: float) -> list[Refusal]:
        """Those of NASes in the last hour of which nothing was taken since. `heard`: when it last was, by the NAS's id."""
        return [
            one
            for one in self.lately(now)
            if one.nas and one.last > now - AGAIN and all(heard.get(name, 0.0) < one.last for name in one.nas.split(", "))
        ]

    def keep(self, nases: Sequence[str]) -> None:
        """Forget those of NASes that are in the configuration no more."""
        known = set(nases)
        self._nases = {key: one for key, one in self._nases.items() if known.issuperset(one.nas.split(", "))}

    def _known(self, nas: str, source: str, why: AccountingFault, now: float) -> Refusal:
        if nas:
            one = self._nases.setdefault((nas, why.value), Refusal(nas, source, why, 0, now))
        else:
            one = self._strangers.setdefault(source, Refusal("", source, why, 0, now))
            self._strangers.move_to_end(source)
            while len(self._strangers) > STRANGERS:
                self._strangers.popitem(last=False)
        one.source, one.why, one.last = source, why, now
        return one

    def _may_log(self, now: float) -> bool:
        self._logged = [at for at in self._logged if at + AGAIN > now]
        if len(self._logged) >= LOGGED:
            return False
        self._logged.append(now)
        return True


def sentence(why: AccountingFault) -> str:
    """What is wrong and what to do."""
    return _WORDS[why]


_WORDS = {
    AccountingFault.NO_NAS: "no NAS that is listened to has this address: if it is yours, enter it under `radius: nas:` and reload",
    AccountingFault.NO_NAME: "no NAS of this address has the NAS-Identifier it sends: compare `identifier` with its configuration",
    AccountingFault.SECRET: "its secret is not the one Sekisho has for it: give both the same and reload",
    AccountingFault.UNSIGNED: "it sends no Message-Authenticator, which `message_authenticator` asks for: have it sent, or take that out",
    AccountingFault.MALFORMED: "no Accounting-Request with all it must have: see that it sends accounting, not logins, to this port",
}
