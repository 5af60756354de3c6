"""The shipped packs, read once."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.model.clauses import Clause, MeasureRule, Pack
from sekisho.model.measures import Detector
from sekisho.terms.pack import parse_pack


class Shipped:
    """The packs of `policies/` by id, and what a test asks of them."""

    def __init__(self, folder: Path) -> None:
        packs = [parse_pack(path.read_text(encoding="utf-8"), path.name) for path in sorted(folder.glob("*.yaml"))]
        self.packs: dict[str, Pack] = {pack.id: pack for pack in packs}

    def clause(self, clause_id: str) -> Clause:
        found = self.packs[clause_id.partition("/")[0]].clause(clause_id)
        assert found is not None, f"{clause_id} is in no pack"
        return found

    def measure(self, clause_id: str, detector: Detector | None = None) -> MeasureRule:
        """The one measure of a clause, or of a detector under it."""
        rules = (one for one in self.clause(clause_id).rules if isinstance(one, MeasureRule))
        (rule,) = (one for one in rules if detector in {None, one.detector})
        return rule

    def measures(self, start: str) -> list[MeasureRule]:
        """The measures of a clause and of its items: `nbnet/22-1` and `nbnet/22-1-1`, never `nbnet/22-10`."""
        rules = self.packs[start.partition("/")[0]].rules
        return [one for one in rules if isinstance(one, MeasureRule) and (one.clause == start or one.clause.startswith(f"{start}-"))]


@pytest.fixture(scope="session")
def terms(root: Path) -> Shipped:
    return Shipped(root / "policies")
