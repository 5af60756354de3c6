"""The hooks of Unbound's Python module: the verdict at a query's arrival, before Unbound's own cache.

Owns the way between a query state of Unbound and a message the compiled verdict reads, and what is made of its
outcome: an answer with RCODE, records, SOA and Extended DNS Error; silence; or Unbound's own work. What that came to is judged
again before it is sent, where lists hold addresses or a rule has aliases checked. Unbound caches what its resolvers said and not
what a customer was answered, so what the lists hold of an answer is found once and kept by what the answer holds (`answers`): one that
Unbound has from its cache costs the look at its few records and one look-up.

Unbound looks into its message cache before any module, and lets queries that are alike share one state. Both would
give one customer's answer to another. So Unbound is told that what it holds has still to be validated
(`need_to_validate`, with `ignore-cd-flag`), which sends every query to the modules; and `subnetcache` stands in
`module-config`, because it gives each query a state of its own. Behind a verdict that lets through, the
iterator finds the cache as ever. A validator would mark what is in the cache as seen to, so where there is
one, `Unmarked` stands behind it, a second script, and keeps it from doing so.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Any

from sekisho.plugin.answers import TYPES
from sekisho.plugin.checkpoint import REFUSE, Checkpoint, Settings
from sekisho.plugin.judge import CHASE, CLOSE, FORWARD, SILENCE
from sekisho.plugin.unboundstate import Insides

_V4 = 0xFFFF << 32
_HEAD = struct.Struct(">6H")
_PAIR = struct.Struct(">HH")
_RECORD = struct.Struct(">HHIH")
_ROOM = bytes.fromhex("00 0029 04d0 00000000 0000")
"""An OPT record: a query is judged as one with EDNS, and Unbound leaves out what the client does not read."""
_OPT, _EDE, _CNAME = 41, 15, 5
_ASKED = 0x0110
_TYPES = {socket.htons(number): wire for number, wire in TYPES.items()}
"""As Unbound has types in its memory: in the order of the wire."""
_TC, _RCODE = 0x0200, 15
_NXDOMAIN, _SERVFAIL, _REFUSED = 3, 2, 5
_ASKER = "asked"
"""In what Unbound keeps with a state: the `_Asked` of who asked, if it was let through."""
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


@dataclass(frozen=True, slots=True)
class _Asked:
    """A query that was let through."""

    row: int
    """Of who asked."""
    message: bytes
    high: int
    low: int
    four: bool
    stream: bool


class Plugin:
    """The module's functions, for the script that Unbound runs. `unbound`: Unbound's `unboundmodule`."""

    def __init__(self, unbound: Any, settings: Settings) -> None:
        self._unbound = unbound
        self._checkpoint = Checkpoint(settings, self._log)
        self._insides = Insides(self._log)
        self._new, self._pass = unbound.MODULE_EVENT_NEW, unbound.MODULE_EVENT_PASS
        self._go_on, self._finished = unbound.MODULE_WAIT_MODULE, unbound.MODULE_FINISHED

    def _log(self, sentence: str) -> None:
        self._unbound.log_warn(f"sekisho: {sentence}")

    def init_standard(self, _module: int, env: Any) -> bool:
        """At start, and after a reload: take the tables."""
        if "subnetcache" not in env.cfg.module_conf.split():
            self._log("module-config lacks subnetcache, without which customers would share answers: it does not start")
            return False
        modules = env.cfg.module_conf.split()
        if "validator" in modules and "python" not in modules[modules.index("validator") :]:
            self._log("module-config has a validator and no second python behind it, so customers would share answers: it does not start")
            return False
        env.need_to_validate = 1
        self._checkpoint.start()
        return True

    def deinit(self, _module: int) -> bool:
        """At the end, and before a reload."""
        self._checkpoint.stop()
        return True

    def inform_super(self, _module: int, _state: Any, _above: Any, _data: Any) -> bool:
        """Nothing waits for another query here."""
        return True

    def operate(self, module: int, event: int, state: Any, data: dict[str, _Asked]) -> bool:
        """One event of one query. `data` is kept with the query's state by Unbound, and goes with it however that ends."""
        if event in {self._new, self._pass}:
            client = state.mesh_info.reply_list
            # Without a client it is Unbound's own question on the way to an answer, or a prefetch.
            state.set_ext_state(module, self._go_on if client is None else self._judge(state, client.query_reply, data))
        elif event == self._unbound.MODULE_EVENT_MODDONE:
            asked, message = data.pop(_ASKER, None), state.return_msg
            if message is not None:
                reply = message.rep
                if asked and asked.row > 0 and reply.flags & _RCODE == _NXDOMAIN:
                    self._checkpoint.count_missing(asked.row)
                # Of this answer alone: what is not validated would not be sent. In the cache it stays as it is.
                if reply.security == self._unbound.sec_status_unchecked:
                    reply.security = self._unbound.sec_status_insecure
                if asked and reply.an_numrrsets and self._checkpoint.watches:
                    self._judge_answer(state, asked, reply)
            state.set_ext_state(module, self._finished)
        else:
            state.set_ext_state(module, self._unbound.MODULE_ERROR)
        return True

    def _judge(self, state: Any, client: Any, data: dict[str, _Asked]) -> int:
        """What state a query goes into; its answer is set if it has one."""
        address, asked = client._addr.raw_addr, state.qinfo  # noqa: SLF001 - the interface's name for it
        name = asked.qname
        message = b"".join((
            _HEAD.pack(0, state.query_flags & _ASKED, 1, 0, 0, 1), name, _PAIR.pack(asked.qtype, asked.qclass), _ROOM,
        ))  # fmt: skip
        four = len(address) == 4
        high, low = (0, _V4 | int.from_bytes(address, "big")) if four else struct.unpack(">QQ", address)
        stream = self._insides.is_stream(client)
        outcome, answer, row = self._checkpoint.rule(message, high, low, four=four, stream=stream)
        if outcome == FORWARD:
            if row >= 0:
                data[_ASKER] = _Asked(row, message, high, low, four, stream)
            return int(self._go_on)
        self._rule(state, name, outcome, answer)
        return int(self._finished)

    def _judge_answer(self, state: Any, asked: _Asked, reply: Any) -> None:
        """Put the list's answer in place of the resolver's, if a list holds an address or alias in it."""
        rrsets = reply.rrsets
        parts: list[bytes] = []
        for number in range(reply.an_numrrsets):
            rrset = rrsets[number]
            rtype = _TYPES.get(rrset.rk.type)
            if rtype is not None:
                data = rrset.entry.data
                count, records = data.count, data.rr_data
                # The length of each comes first.
                parts += (rtype, count.to_bytes(2, "big"), *[records[row] for row in range(count)])
        if not parts:
            return
        question = asked.message[12 : len(asked.message) - len(_ROOM)]
        outcome, made, _ = self._checkpoint.rule_on_answer(
            asked.message, question, b"".join(parts), asked.high, asked.low, four=asked.four, stream=asked.stream
        )
        if outcome != FORWARD:
            self._rule(state, state.qinfo.qname, outcome, made)

    def _rule(self, state: Any, name: bytes, outcome: int, answer: bytes) -> None:
        """Have Unbound do what was decided, `answer` being ours."""
        # Ours is of one customer: it is in no cache.
        state.no_cache_store = 1
        state.return_rcode = 0
        if outcome in {SILENCE, CLOSE}:
            state.return_rcode = _REFUSED
            self._insides.drop(state)
        elif outcome == REFUSE:
            state.return_rcode = _SERVFAIL
        elif outcome == CHASE:
            self._answer(state, name, 0, [(_CNAME, *self._checkpoint.target())], [])
        else:
            self._repeat(state, name, answer)

    def _repeat(self, state: Any, name: bytes, answer: bytes) -> None:
        """Have Unbound send our answer: its RCODE, records, SOA and Extended DNS Errors."""
        _, flags, _, answers, authority, _ = _HEAD.unpack_from(answer)
        at = 12 + len(name) + 4
        sections: tuple[list[Any], list[Any]] = ([], [])
        for number in range(answers + authority):
            rtype, _, ttl, size = _RECORD.unpack_from(answer, at + 2)
            sections[number >= answers].append((rtype, ttl, answer[at + 12 : at + 12 + size]))
            at += 12 + size
        self._answer(state, name, flags, *sections)
        # The rest is the OPT record, the root's name before it.
        at += 11
        while at + 4 <= len(answer):
            code, size = _PAIR.unpack_from(answer, at)
            if code == _EDE:
                data = bytearray(answer[at + 4 : at + 4 + size])
                self._unbound.edns_opt_list_append(state.edns_opts_front_out, code, data, state.region)
            at += 4 + size

    def _answer(self, state: Any, name: bytes, flags: int, answers: list[Any], authority: list[Any]) -> None:
        unbound, owner = self._unbound, _spelt(name)
        message = unbound.DNSMessage(owner, state.qinfo.qtype, unbound.RR_CLASS_IN, unbound.PKT_QR | unbound.PKT_RA)
        message.answer = [f"{owner} {ttl} IN TYPE{rtype} \\# {len(data)} {data.hex()}" for rtype, ttl, data in answers]
        message.authority = [f"{owner} {ttl} IN TYPE{rtype} \\# {len(data)} {data.hex()}" for rtype, ttl, data in authority]
        if not message.set_return_msg(state):
            state.return_rcode = _SERVFAIL
            return
        reply = state.return_msg.rep
        reply.flags = reply.flags & ~_RCODE | flags & (_TC | _RCODE)
        # Made here, so nothing to validate.
        reply.security = unbound.sec_status_insecure


class Unmarked:
    """The functions of a second script, behind the validator: what Unbound holds stays marked as not validated.

    It is validated again for each query, from signatures that were found good before.
    """

    def __init__(self, unbound: Any) -> None:
        self._unbound = unbound

    def init_standard(self, _module: int, _env: Any) -> bool:
        """Nothing to do."""
        return True

    def deinit(self, _module: int) -> bool:
        """Nothing to do."""
        return True

    def inform_super(self, _module: int, _state: Any, _above: Any, _data: Any) -> bool:
        """Nothing waits for another query here."""
        return True

    def operate(self, module: int, event: int, state: Any, _data: Any) -> bool:
        """Let the iterator work, and store; and nobody after it."""
        unbound = self._unbound
        if event in {unbound.MODULE_EVENT_NEW, unbound.MODULE_EVENT_PASS}:
            state.set_ext_state(module, unbound.MODULE_WAIT_MODULE)
        elif event == unbound.MODULE_EVENT_MODDONE:
            state.no_cache_store = 1
            state.set_ext_state(module, unbound.MODULE_FINISHED)
        else:
            state.set_ext_state(module, unbound.MODULE_ERROR)
        return True


def _spelt(wire: bytes) -> str:
    """A name in presentation form, every octet that needs it escaped."""
    labels, at = [], 0
    while wire[at]:
        label = wire[at + 1 : at + 1 + wire[at]]
        labels.append("".join(chr(octet) if octet in _PLAIN else f"\\{octet:03d}" for octet in label))
        at += wire[at] + 1
    return ".".join(labels) + "."
