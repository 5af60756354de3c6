"""The reader written from FORMAT.md alone, asked like a server: what a client would see of its verdict."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import dns.name
import dns.rdatatype

from support.differential.model import ANSWERED, SILENCE, Verdict
from support.differential.world import Question
from support.tablereader import Tables


class ReaderFront:
    """No server: it reads the tables in this process, one question after the other."""

    name = "reader"

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._one = threading.Lock()

    def ask(self, question: Question, patience: float) -> Verdict:
        """What the client would see; nobody waits for silence, so `patience` is for servers."""
        del patience
        name = dns.name.from_text(question.name).to_wire()
        with self._one:
            said = self._tables.verdict(question.source, None, name, dns.rdatatype.from_text(question.rdtype), tcp=question.tcp)
        if said.forward:
            return ANSWERED
        if said.rcode is None:
            return SILENCE
        told = (said.ede, said.text) if said.ede is not None and question.edns else None
        return Verdict("ours", said.rcode, said.truncated, frozenset(said.records), said.soa_ttl, told)


@contextlib.contextmanager
def reading(tables: Path, key: Path) -> Iterator[ReaderFront]:
    """The reader on a folder of tables, with the list key from a file of 16 bytes."""
    yield ReaderFront(Tables(tables, key.read_bytes()))
