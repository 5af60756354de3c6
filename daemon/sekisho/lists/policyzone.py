"""What the records of a response policy zone mean (draft-vixie-dnsop-dns-rpz-00).

Kept: QNAME triggers (a name: EXACT; `*.` and a name: BELOW) with every action:

    CNAME .               NXDOMAIN          CNAME rpz-passthru.   PASSTHRU
    CNAME *.              NODATA            CNAME rpz-drop.       DROP
    CNAME to itself       PASSTHRU (old)    CNAME rpz-tcp-only.   TCP-only
    CNAME to other names  CHASE             any other type        local data

The target of a CHASE is kept as it stands, `*.garden.example` with its `*` label: whoever answers
puts the query name in the star's place (section 4.1.6 of the draft).

Kept likewise: triggers on addresses with the same actions: those in answers (`rpz-ip`) and those of clients (`rpz-client-ip`).

Not kept, counted and named: triggers on name servers (rpz-nsdname, rpz-nsip), actions and triggers under other
`rpz-` names, NS, DS and DNAME records. Records at the apex and those of DNSSEC are the zone's upkeep and no policy.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sekisho.lists import idn
from sekisho.lists.rows import DROP, NODATA, NXDOMAIN, PASSTHRU, TCP_ONLY, Rows, Tally
from sekisho.model import addresses
from sekisho.model.errors import FeedError
from sekisho.model.lists import Action, ActionKind, LocalRecord, Trigger

CNAME = 5
SOA = 6
_NS, _DNAME, _DS = 2, 39, 43
_UNKEPT_TYPES = {_NS: "NS", _DNAME: "DNAME", _DS: "DS"}
_UPKEEP = frozenset({SOA, 25, 46, 47, 48, 50, 51, 59, 60, 63})
"""SOA, KEY, RRSIG, NSEC, DNSKEY, NSEC3, NSEC3PARAM, CDS, CDNSKEY, ZONEMD."""

TARGETS = {
    b"\0": NXDOMAIN,
    b"\1*\0": NODATA,
    b"\x0crpz-passthru\0": PASSTHRU,
    b"\x08rpz-drop\0": DROP,
    b"\x0crpz-tcp-only\0": TCP_ONLY,
}
MOST_RECORDS = 4 << 20
"""Records of local data of one list: two million names redirected with all below them. Each is 800 octets while it is compiled."""
MOST_OF_NAME = 1000
"""Of one name: more than anybody answers."""
_TRIGGERS = frozenset({b"rpz-nsdname", b"rpz-nsip"})
_ADDRESSES = {b"rpz-ip": Trigger.ADDRESS, b"rpz-client-ip": Trigger.CLIENT}


@dataclass(slots=True)
class PolicyZone:
    """Takes the records of a zone and writes rows. With `grouped`, records of one trigger become
    one action when the zone is closed; without, each is a row of its own (for differences). Raises FeedError at its bounds.
    """

    rows: Rows
    tally: Tally
    grouped: bool = True
    _kept: int = 0
    _local: dict[tuple[bytes, int], tuple[int, list[LocalRecord]]] = field(default_factory=dict)

    def record(self, labels: list[bytes], line: int, rtype: int, ttl: int, rdata: bytes) -> None:
        """One record: `labels` of its owner without the zone's, in lower case; `rdata` in uncompressed wire form."""
        if not labels or rtype in _UPKEEP:
            return
        unkept = _unkept(labels, rtype)
        shown = "" if self.tally.sealed else ".".join(label.decode("ascii", "backslashreplace") for label in labels)
        if unkept is not None:
            self.tally.leave(line, unkept, shown)
            return
        trigger = Trigger.EXACT
        kind = _ADDRESSES.get(labels[-1])
        if kind is not None:
            try:
                name = addresses.key_of(addresses.read_trigger(labels[:-1]), kind)
            except ValueError as error:
                self.tally.skip(line, str(error), shown)
                return
            self._act(name, trigger | kind, line, rtype, ttl, rdata, shown)
            return
        if labels[0] == b"*":
            trigger, labels = Trigger.BELOW, labels[1:]
            if not labels:
                self.tally.refuse(line, "it would cover every name")
                return
        if labels[-1].isdigit():
            self.tally.skip(line, "it is an address or ends in a number, not a name", shown)
            return
        self._act(idn.join(labels), trigger, line, rtype, ttl, rdata, shown)

    def _act(self, name: bytes, trigger: Trigger, line: int, rtype: int, ttl: int, rdata: bytes, shown: str) -> None:
        """Write what the record says is done with a name or prefix."""
        if rtype != CNAME:
            self._keep(name, trigger, line, LocalRecord(rtype, ttl, rdata))
            return
        target = rdata.lower()
        number = TARGETS.get(target, PASSTHRU if target == name else None)
        if number is not None:
            self.rows.add(name, line, trigger, number)
            return
        last = idn.split(target)[-1]
        if last.startswith(b"rpz-"):
            self.tally.leave(line, f"action {last.decode('ascii', 'replace')}.", shown)
            return
        self._keep(name, trigger, line, LocalRecord(rtype, ttl, rdata))

    def close(self) -> None:
        """Write the local data gathered."""
        for (name, trigger), (line, records) in self._local.items():
            self._write(name, trigger, line, records)
        self._local.clear()

    def _keep(self, name: bytes, trigger: Trigger, line: int, record: LocalRecord) -> None:
        self._kept += 1
        if self._kept > MOST_RECORDS:
            raise FeedError(f"it has more than {MOST_RECORDS} records of local data; divide it into several lists")
        if not self.grouped:
            self._write(name, trigger, line, [record])
            return
        _, records = self._local.setdefault((name, int(trigger)), (line, []))
        if records and (records[0].rtype == CNAME or record.rtype == CNAME):
            self.tally.skip(line, "a name with a CNAME has no other records (RFC 1034 section 3.6.2)")
        elif len(records) >= MOST_OF_NAME:
            self.tally.skip(line, f"no more than {MOST_OF_NAME} records of a name are kept")
        elif record not in records:
            records.append(record)

    def _write(self, name: bytes, trigger: int, line: int, records: list[LocalRecord]) -> None:
        kind = ActionKind.CHASE if records[0].rtype == CNAME else ActionKind.LOCAL_DATA
        self.rows.add(name, line, trigger, self.rows.action(Action(kind, tuple(records))))


def _unkept(labels: list[bytes], rtype: int) -> str | None:
    if labels[-1].startswith(b"rpz-") and labels[-1] not in _ADDRESSES:
        return f"{labels[-1].decode()} trigger" if labels[-1] in _TRIGGERS else "trigger under an unknown rpz- name"
    if rtype in _UNKEPT_TYPES:
        return f"{_UNKEPT_TYPES[rtype]} record"
    return None
