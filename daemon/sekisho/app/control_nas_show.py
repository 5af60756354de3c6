"""How the NASes stand: the answer to `nas show`, and what exporters may tell of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from sekisho.app.control_core import Core
from sekisho.app.control_nas import NasLimits
from sekisho.enforce.naslines import Line, Request
from sekisho.enforce.nastally import tally
from sekisho.enforce.templates import compose
from sekisho.model.errors import RefusedError
from sekisho.model.nas import ErrorCause, Limit, RequestKind, RequestOutcome
from sekisho.model.observation import NasObservation

Json = dict[str, Any]


def show(core: Core, only: str | None, limit: int) -> Json:
    """All NASes; of the one that is named its lines too, at most `limit`. Raises RefusedError for one that is not configured."""
    nas = core.nas
    settings = nas.settings
    if only is not None and (settings is None or settings.nas(only) is None):
        known = ", ".join(one.id for one in settings.nases) if settings is not None else "none, since there is no `coa:` section"
        raise RefusedError(f"there is no NAS {only}; known are {known}")
    shift = core.clock() - time.monotonic()
    bodies = []
    for one in settings.nases if settings is not None else ():
        if only in {None, one.id}:
            stand, state = tally(nas.book, one.id), nas.book.nases()[one.id]
            bodies.append(
                {
                    "id": one.id,
                    "address": str(one.address),
                    "vendor": one.vendor,
                    "reachable": None if state.silent_since is None and state.answered_at is None else state.silent_since is None,
                    "answered": None if state.answered_at is None else state.answered_at + shift,
                    "silent_since": None if state.silent_since is None else state.silent_since + shift,
                    "error": nas.errors.get(one.id),
                    "wanted": stand.wanted,
                    "acknowledged": stand.acknowledged,
                    "pending": stand.pending,
                    "refused": stand.refused,
                    "lifting": stand.lifting,
                    "causes": {cause.word: count for cause, count in stand.causes.items()},
                }
            )
    body: Json = {"mode": settings.mode.value if settings is not None else None, "nas": bodies, "warnings": nas.warnings()}
    if only is not None:
        lines = sorted(nas.book.lines(only), key=lambda one: one.target.key)
        body["lines"] = [_line(nas, one) for one in lines[:limit]]
        would = _observed(core, only)
        body["observed"] = would[:limit]
        body["more"] = len(lines) > limit or len(would) > limit
    return body


def _line(nas: NasLimits, line: Line) -> Json:
    request = line.flight or nas.book.next_of(line)
    return {
        "customer": line.target.customer,
        "session": line.target.session,
        "user": line.target.user,
        "prefixes": [str(one) for one in line.target.prefixes],
        "wanted": _speeds(nas.book.limit_of(line)),
        "acknowledged": _speeds(line.held),
        "in_doubt": line.doubt is not None or line.flight is not None,
        "failures": line.tries,
        "cause": None if line.cause is None else line.cause.word,
        "given_up": line.given_up is not None and not line.slow,
        "refused": line.given_up is not None,
        "next": None if request is None else _request(nas, request),
    }


def _request(nas: NasLimits, request: Request) -> Json:
    """A request as it would be sent."""
    body: Json = {"kind": request.kind.value, "message": None, "attributes": [], "error": None}
    if nas.settings is not None:
        try:
            message = compose(request, nas.settings)
        except RefusedError as error:
            body["error"] = str(error)
        else:
            body["message"] = "Disconnect-Request" if message.disconnect else "CoA-Request"
            body["attributes"] = [{"name": name, "value": value} for name, value in message.shown]
    return body


def _observed(core: Core, only: str) -> list[Json]:
    """What would be asked for measures that are observed only, or while enforcement is held."""
    view, found = core.measures.view(core.clock()), []
    for identity in view.book.customers():
        customer = view.people.find(identity)
        if customer is None or identity in core.nas.book.wanted():
            continue
        limit = core.nas.limit(identity, view.observed(customer))
        if limit is None:
            continue
        for target in core.nas.targets(identity):
            if target.nas == only:
                request = _request(core.nas, Request(RequestKind.LIMIT, target, limit))
                found.append({"customer": identity, "session": target.session, "limit": _speeds(limit), **request})
    return found


def _speeds(limit: Limit | None) -> Json | None:
    return None if limit is None else {"down": limit.down, "up": limit.up}


def observations(nas: NasLimits) -> Mapping[str, Any]:
    """Fields of `model.observation.Observation`."""
    found = []
    for name, state in nas.book.nases().items():
        stand = tally(nas.book, name)
        states = {
            "acknowledged": stand.acknowledged,
            "pending": stand.pending,
            "refused": stand.refused,
            "lifting": stand.lifting,
        }
        found.append(NasObservation(name, state.silent_since is None, states))
    return {
        "nases": tuple(found),
        "nas_requests": {(kind.value, outcome.value): nas.requests[kind, outcome] for kind in RequestKind for outcome in RequestOutcome},
        "nas_causes": {cause.word: nas.causes[cause] for cause in ErrorCause},
        "nas_dropped": dict(nas.dropped),
    }
