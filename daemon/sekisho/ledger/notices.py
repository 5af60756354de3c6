"""The fold of notices and attention calls.

What is settled is forgotten in the order of the record after `KEEP`, so that the fold does not grow with
the years; the acts stay in the ledger. Reads no clock: the time is that of the act taken in.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Self

from sekisho.ledger.part import Chunk, Part, in_chunks
from sekisho.model.events import Act, CustomerAdded, CustomerRemoved, RecordedAct
from sekisho.model.measures import Occasion
from sekisho.model.noticeacts import AttentionMoved, AttentionOpened, NoticeDeferred, NoticeFailed, NoticeQueued, NoticeSent, NoticeTried
from sekisho.model.notices import AttentionCall, Bounce, CallState, Channel, Ending, Notice, NoticeState

KEEP = 90 * 86400.0
"""Seconds a settled notice is known."""
KEEP_KEYS = 400 * 86400.0
"""Seconds a closed call, and that an order was carried out, are known: neither is made twice in that time."""
MAILS = 64
"""Times of the last mails to one customer that are known."""


class Notices(Part):
    """The fold so far. Only `apply` changes it.

    notices      id -> notice, open or settled of late
    calls        id -> attention call
    unreachable  customer -> the bounce that says so
    mailed       customer -> times of the last mails that went out to them, the oldest first
    changed      customer -> when the customer was last added, replaced or removed at run time
    counted      channel/outcome -> notices, since the first act
    queued       notices ever queued
    """

    name: ClassVar[str] = "notices"
    acts: ClassVar[tuple[type[Act], ...]] = (
        NoticeQueued,
        NoticeTried,
        NoticeSent,
        NoticeDeferred,
        NoticeFailed,
        AttentionOpened,
        AttentionMoved,
        CustomerAdded,
        CustomerRemoved,
    )

    def __init__(self) -> None:
        self.notices: dict[str, Notice] = {}
        self.calls: dict[str, AttentionCall] = {}
        self.unreachable: dict[str, Bounce] = {}
        self.mailed: dict[str, list[float]] = {}
        self.changed: dict[str, float] = {}
        self.counted: Counter[str] = Counter()
        self.queued = 0
        self._open: dict[str, None] = {}
        self._latest: dict[tuple[str, str], str] = {}
        self._orders: dict[str, float] = {}
        self._of_order: dict[str, tuple[str, ...]] = {}
        self._settled: deque[tuple[float, str]] = deque()
        self._closed: deque[tuple[float, str]] = deque()

    def open(self) -> Iterator[Notice]:
        """Notices something is to be done about, the first queued first."""
        return (self.notices[one] for one in list(self._open))

    def ordered_at(self, key: str) -> float | None:
        """When the order of this key was first put on record, as far as is remembered."""
        return self._orders.get(key)

    def of_order(self, key: str) -> list[Notice]:
        """The notices of an order, one a channel, as far as they are known yet."""
        known = map(self.notices.get, self._of_order.get(key, ()))
        return [notice for notice in known if notice is not None]

    def open_call(self, customer: str, address: str) -> AttentionCall | None:
        """The customer's call about this address that is not closed yet."""
        call = self.calls.get(self._latest.get((customer, address), ""))
        return call if call is not None and call.state is not CallState.CLOSED else None

    def to_address(self, address: str) -> list[Notice]:
        """Notices known that went by mail to an address, the newest last."""
        wanted = address.casefold()
        return [one for one in self.notices.values() if one.channel is Channel.EMAIL and one.address.casefold() == wanted]

    def apply(self, recorded: RecordedAct) -> None:
        """Take in the next act."""
        act, at = recorded.act, recorded.at
        match act:
            case NoticeQueued():
                self._queue(act, at)
            case NoticeTried():
                self._try(act, at)
            case NoticeDeferred():
                self._move(act.notice, at, state=NoticeState.DEFERRED, next_at=act.until, detail=act.detail, uncertain=act.uncertain)
            case NoticeSent():
                self._send(act, at)
            case NoticeFailed():
                self._fail(act, at)
            case AttentionOpened():
                self._enter(AttentionCall(act.call, act.customer, act.clause, act.address, act.port, act.at, act.report, at, since=at))
            case AttentionMoved():
                self._move_call(act, at)
            case CustomerAdded() | CustomerRemoved():
                self.changed[act.customer] = at
            case _:
                return
        self._forget(at)

    def _queue(self, act: NoticeQueued, at: float) -> None:
        self.counted[f"{act.channel}/queued"] += 1
        self.queued += 1
        notice = Notice(
            act.notice,
            act.customer,
            act.subject,
            act.clause,
            Occasion(act.occasion),
            Channel(act.channel),
            act.address,
            at,
            act.order,
            tuple(act.digest_of),
            since=at,
            next_at=at,
        )
        self._keep(notice)
        self._open[act.notice] = None
        if act.order:
            self._orders.setdefault(act.order, at)
        for member in act.digest_of:
            self._move(member, at, state=NoticeState.TOLD, told_by=act.notice)

    def _keep(self, notice: Notice) -> None:
        self.notices[notice.id] = notice
        if notice.order:
            # Replaced and never changed, so that a copy may share it.
            self._of_order[notice.order] = (*self._of_order.get(notice.order, ()), notice.id)

    def _try(self, act: NoticeTried, at: float) -> None:
        notice = self.notices.get(act.notice)
        if notice is not None and notice.channel is Channel.EMAIL and not notice.attempts:
            times = self.mailed.setdefault(notice.customer, [])
            times.append(at)
            del times[:-MAILS]
        if act.unconfirmed and act.notice in self.notices:
            self.counted[f"{self.notices[act.notice].channel}/unconfirmed"] += 1
        self._move(act.notice, at, state=NoticeState.TRIED, attempts=act.attempt, uncertain=act.unconfirmed)

    def _send(self, act: NoticeSent, at: float) -> None:
        notice = self.notices.get(act.notice)
        if notice is None:
            return
        self.counted[f"{notice.channel}/sent"] += 1
        if notice.channel is Channel.EMAIL:
            self.unreachable.pop(notice.customer, None)
        for one in (act.notice, *notice.digest_of):
            self._move(one, at, state=NoticeState.SENT, deemed_at=act.deemed_at, detail="")

    def _fail(self, act: NoticeFailed, at: float) -> None:
        notice = self.notices.get(act.notice)
        if act.outcome == Ending.BOUNCED:
            address = act.address or (notice.address if notice is not None else "")
            self.unreachable[act.customer] = Bounce(address, at, act.detail)
        if notice is None:
            return
        self.counted[f"{notice.channel}/{act.outcome}"] += 1
        for one in (act.notice, *notice.digest_of):
            self._move(one, at, state=NoticeState.FAILED, detail=act.detail)

    def _move(self, identity: str, at: float, *, uncertain: bool = False, **changes: Any) -> None:
        notice = self.notices.get(identity)
        if notice is None:
            return
        after = dataclasses.replace(notice, since=at, uncertain=notice.uncertain or uncertain, **changes)
        self.notices[identity] = after
        if after.state.is_open:
            self._open[identity] = None
        else:
            self._open.pop(identity, None)
        if after.state in {NoticeState.SENT, NoticeState.FAILED}:
            self._settled.append((at, identity))

    def _enter(self, call: AttentionCall) -> None:
        self.calls[call.id] = call
        self._latest[call.customer, call.address] = call.id

    def _move_call(self, act: AttentionMoved, at: float) -> None:
        call = self.calls.get(act.call)
        if call is None:
            return
        state = CallState(act.state)
        self.calls[act.call] = dataclasses.replace(call, state=state, since=at, reason=act.reason or call.reason)
        if state is CallState.CLOSED:
            self._closed.append((at, act.call))

    def _forget(self, at: float) -> None:
        """Drop what was settled long before the act at `at`."""
        while self._settled and self._settled[0][0] < at - KEEP:
            moment, identity = self._settled.popleft()
            notice = self.notices.get(identity)
            if notice is None or notice.since > moment:
                continue  # it moved since, and stands further behind once more
            del self.notices[identity]
            self._of_order.pop(notice.order, None)
            if self.mailed.get(notice.customer, [at])[-1] < at - KEEP:
                del self.mailed[notice.customer]
        while self._closed and self._closed[0][0] < at - KEEP_KEYS:
            moment, identity = self._closed.popleft()
            call = self.calls.get(identity)
            if call is not None and call.since <= moment:
                del self.calls[identity]
                if self._latest.get((call.customer, call.address)) == identity:
                    del self._latest[call.customer, call.address]
        # In the order of adding: the first that is young enough ends the walk.
        while self._orders and (oldest := next(iter(self._orders.items())))[1] < at - KEEP_KEYS:
            del self._orders[oldest[0]]

    def copy(self) -> Self:
        """Notices and calls are never changed in place: of a hundred thousand of them a copy takes milliseconds."""
        made = type(self)()
        made.notices, made.calls, made.unreachable = dict(self.notices), dict(self.calls), dict(self.unreachable)
        made.mailed = {customer: list(times) for customer, times in self.mailed.items()}
        made.changed, made.counted, made.queued = dict(self.changed), Counter(self.counted), self.queued
        made._open, made._latest, made._orders = dict(self._open), dict(self._latest), dict(self._orders)  # noqa: SLF001 - of this class
        made._of_order = dict(self._of_order)  # noqa: SLF001
        made._settled, made._closed = deque(self._settled), deque(self._closed)  # noqa: SLF001
        return made

    def dump(self) -> Iterator[Chunk]:
        yield from ({"notices": rows} for rows in in_chunks(dataclasses.asdict(notice) for notice in self.notices.values()))
        yield from ({"calls": rows} for rows in in_chunks(dataclasses.asdict(call) for call in self.calls.values()))
        yield {
            "unreachable": {customer: dataclasses.asdict(bounce) for customer, bounce in self.unreachable.items()},
            "mailed": {customer: list(times) for customer, times in self.mailed.items()},
            "changed": dict(self.changed),
            "counted": dict(self.counted),
            "queued": self.queued,
            "open": list(self._open),
            "orders": dict(self._orders),
            "settled": [list(one) for one in self._settled],
            "closed": [list(one) for one in self._closed],
        }

    def load(self, chunks: Iterable[Chunk]) -> None:
        for value in chunks:
            for one in value.get("notices", ()):
                self._keep(_notice(one))
            for one in value.get("calls", ()):
                self._enter(AttentionCall(**one | {"state": CallState(one["state"])}))
            if "queued" in value:
                self._load_rest(value)

    def _load_rest(self, value: dict[str, Any]) -> None:
        self.unreachable = {customer: Bounce(**bounce) for customer, bounce in value["unreachable"].items()}
        self.mailed = {customer: list(times) for customer, times in value["mailed"].items()}
        self.changed = dict(value["changed"])
        self.counted = Counter(value["counted"])
        self.queued = value["queued"]
        self._open = dict.fromkeys(value["open"])
        self._orders = dict(value["orders"])
        self._settled = deque((at, identity) for at, identity in value["settled"])
        self._closed = deque((at, identity) for at, identity in value["closed"])


def _notice(value: dict[str, Any]) -> Notice:
    typed = {
        "occasion": Occasion(value["occasion"]),
        "channel": Channel(value["channel"]),
        "state": NoticeState(value["state"]),
        "digest_of": tuple(value["digest_of"]),
    }
    return Notice(**value | typed)
