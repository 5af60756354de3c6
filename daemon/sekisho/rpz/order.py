"""Which zones there are, in which order a resolver asks them, and which of them hold a customer.

The first zone that holds a client or a name decides, so the order is the verdict's:

    silenced              customers whom a measure gives no answer        rpz-client-ip → rpz-drop
    garden                customers a measure leads to the notice page    rpz-client-ip → its addresses
    pass-LIST, list-LIST  for each list, mandatory ones first: whom it does not reach (opted out, exempt, no consent,
                          no clause in the terms)                         rpz-client-ip → PASSTHRU
                          and what it holds                               names

A customer let through before one list is let through by all that follow: a policy zone says "this client" or "this name",
never both. So a customer stands in one `pass-` zone, that of the first list which does not reach them, and lists that
reach them and come later do not reach them by these zones (`Standing.missed`): no clause, no measure comes first.
Where the terms of customers differ by more than the order can say, they are divided into entitlement classes: each has
its own order and `pass-` zones, and is a view of the resolver, or a tag.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sekisho.model.clauses import Profile
from sekisho.model.lists import Action, ActionKind, ListDefinition

SILENCED, GARDEN = "silenced", "garden"
DEFAULT = ""
"""The class of everybody whose terms have none of their own."""


@dataclass(frozen=True, slots=True)
class Step:
    """One list in the order of a class, and the zones it takes."""

    list_id: str
    order: int
    mandatory: bool
    passing: str
    """Label of the zone of those it does not reach."""
    holding: str
    """Label of the zone of what it holds."""


@dataclass(frozen=True, slots=True)
class Class:
    """Customers of the same terms, and the lists that can reach them, in the order they are asked."""

    id: str
    terms: tuple[str, ...]
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    classes: tuple[Class, ...]
    """The default one last."""
    garden: bool

    def zones(self, one: Class) -> tuple[str, ...]:
        """The labels of a class's zones, in the order a resolver asks them."""
        first = (SILENCED, GARDEN) if self.garden else (SILENCED,)
        return (*first, *(label for step in one.steps for label in (step.passing, step.holding)))

    def class_of(self, terms: tuple[str, ...]) -> Class:
        """Whose terms are those of a class, in whatever order they stack, is in it."""
        wanted = frozenset(terms)
        return next((one for one in self.classes if one.id != DEFAULT and frozenset(one.terms) == wanted), self.classes[-1])

    def client_zones(self) -> tuple[str, ...]:
        """Labels of all zones of triggers on clients."""
        passing = (step.passing for one in self.classes for step in one.steps)
        return (SILENCED, *((GARDEN,) if self.garden else ()), *passing)

    def list_zones(self) -> dict[str, str]:
        """Labels of all zones of names, and the list of each."""
        return {step.holding: step.list_id for one in self.classes for step in one.steps}


@dataclass(frozen=True, slots=True)
class Standing:
    """What zones say of one customer's addresses."""

    zone: str | None = None
    """Label of the one that holds them; None: none does."""
    missed: tuple[str, ...] = ()
    """Lists that reach the customer and that these zones cannot bring to them."""


def plan(
    lists: Sequence[ListDefinition],
    everybody: Sequence[Profile],
    published: Collection[str],
    classes: Mapping[str, Profile],
    *,
    garden: bool,
) -> Plan:
    """The zones of a site.

    `everybody`: what the terms there are authorise, whoever has them: zones do not come and go with customers. `classes`:
    what the terms of each class do, by its id; `published`: ids of lists that may be.
    """
    made = [Class(name, profile.terms, _steps(lists, [profile], published, name)) for name, profile in classes.items()]
    made.append(Class(DEFAULT, (), _steps(lists, everybody, published, DEFAULT)))
    return Plan(tuple(made), garden)


def _steps(lists: Sequence[ListDefinition], profiles: Sequence[Profile], published: Collection[str], name: str) -> tuple[Step, ...]:
    steps = []
    for definition in lists:
        rules = [rule for profile in profiles if (rule := profile.block[definition.order]) is not None]
        if definition.id not in published or not rules:
            continue
        mandatory = any(rule.mandatory for rule in rules)
        passing = f"pass-{definition.id}" + (f".{name}" if name else "")
        steps.append(Step(definition.id, definition.order, mandatory, passing, f"list-{definition.id}"))
    return tuple(sorted(steps, key=lambda step: not step.mandatory))


def standing(one: Class, mask: int, *, silenced: bool, garden: bool) -> Standing:
    """Where a customer of a class stands; `mask`: the lists in force for them, by order."""
    if silenced:
        return Standing(SILENCED)
    if garden:
        return Standing(GARDEN)
    for number, step in enumerate(one.steps):
        if not mask >> step.order & 1:
            later = tuple(other.list_id for other in one.steps[number + 1 :] if mask >> other.order & 1)
            return Standing(step.passing, later)
    return Standing()


def answer_of(definition: ListDefinition, profiles: Sequence[Profile]) -> Action:
    """What entries of a list are answered with where they do not say: the definition's, else the first clause's."""
    if definition.answer is not None:
        return definition.answer
    rules = (profile.block[definition.order] for profile in profiles if definition.order < len(profile.block))
    return next((rule.answer for rule in rules if rule is not None and rule.answer is not None), Action(ActionKind.NXDOMAIN))
