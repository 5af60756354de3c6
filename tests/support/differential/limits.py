"""What a front cannot express, as the table of daemon/README.md has it: the verdict it gives instead."""

from __future__ import annotations

from dataclasses import replace

from sekisho.model.lists import ActionKind
from support.differential.model import Verdict
from support.differential.world import CHASE, Question


def said_by(front: str, question: Question, wanted: Verdict) -> Verdict:
    """What `front` says where `wanted` is the verdict."""
    if front == "recursor":
        return _recursor(question, wanted)
    if front == "dnsdist" and wanted.kind == "ours" and wanted.soa is None and not wanted.records:
        # It makes the OPT record of such an answer itself.
        return replace(wanted, ede=None)
    return wanted


def _recursor(question: Question, wanted: Verdict) -> Verdict:
    if wanted.action is ActionKind.CHASE and not question.tcp:
        return Verdict("ours", records=frozenset((one.rtype, one.ttl, one.rdata) for one in CHASE.records), action=wanted.action)
    return wanted
