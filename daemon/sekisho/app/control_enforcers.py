"""Who carries measures out: the plane, and beside it whoever slows lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from sekisho.app.control_standing import View
from sekisho.measures.combine import ENFORCED
from sekisho.model.measures import Detector, Enforcement


class Plane(Protocol):
    """What the plane does to single customers (`control_tables.Tables`)."""

    async def enforce(self, customer: str, what: Enforcement) -> None: ...

    def enforced(self) -> Mapping[str, Enforcement]: ...


class Enforcers:
    """Implements `control_measures.Enforcer`: the plane's is in force on return, the others are told and come after."""

    def __init__(self, plane: Plane, *others: Callable[[str, Enforcement], None]) -> None:
        self._plane = plane
        self._others = others

    async def enforce(self, customer: str, what: Enforcement) -> None:
        """Raises SekishoError if the plane cannot; the others are told all the same."""
        for tell in self._others:
            tell(customer, what)
        await self._plane.enforce(customer, what)

    def enforced(self) -> Mapping[str, Enforcement]:
        return self._plane.enforced()


def duplicate_logins(view: View) -> dict[str, int]:
    """Customers under a measure for a duplicate log-in that is carried out now, and how many sessions they may have."""
    found: dict[str, int] = {}
    if view.book.hold is not None:
        return found
    for measure in view.book.open():
        if measure.detector is not Detector.DUPLICATE_LOGIN or measure.state not in ENFORCED or measure.observe:
            continue
        standing = view.standing_of(measure)
        if standing.rule is None or standing.exempt or standing.observe:
            continue
        allowed = measure.evidence.get("allowed", 1)
        found[measure.customer] = max(1, int(allowed)) if isinstance(allowed, int | float) else 1
    return found
