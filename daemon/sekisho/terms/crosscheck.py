"""What one file says about another: packs, lists and clauses that customers and lists name.

Each check gives sentences; whoever knows the file and line, or the request, puts them there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from sekisho.config.register import Overlap
from sekisho.config.validation import did_you_mean
from sekisho.model.clauses import BlockRule, Pack
from sekisho.model.customers import Customer
from sekisho.model.errors import RefusedError
from sekisho.model.lists import ListDefinition


def unknown_terms(terms: Collection[str], packs: Collection[str], unread: Collection[str] = ()) -> Iterator[str]:
    """`unread` are packs that ought to be there, and whose absence is told elsewhere."""
    for name in terms:
        if name not in packs and name not in unread:
            yield f"there is no terms pack {name} among those that `terms:` of the main file loads{did_you_mean(name, packs)}"


def unknown_exemptions(exempt: Collection[str], known: Collection[str]) -> Iterator[str]:
    """`known` are the ids of lists and clauses."""
    for name in exempt:
        if name not in known:
            what = "clause" if "/" in name else "list or clause"
            yield f"there is no {what} {name}; an exemption names a list's id or a clause of a loaded pack{did_you_mean(name, known)}"


def unused_categories(packs: Mapping[str, Pack], lists: Sequence[ListDefinition]) -> Iterator[tuple[ListDefinition, str]]:
    """Lists that reach nobody, with the sentence."""
    used = {category for pack in packs.values() for rule in pack.rules if isinstance(rule, BlockRule) for category in rule.categories}
    for definition in lists:
        if definition.category not in used:
            category = definition.category
            hint = did_you_mean(category, used)
            yield definition, f"list {definition.id} reaches nobody: no rule of a loaded pack names the category {category}{hint}"


def check_customer(
    customer: Customer, packs: Mapping[str, Pack], lists: Sequence[ListDefinition], overlaps: Sequence[Overlap] = ()
) -> None:
    """Check a customer added at run time against all else. Raises RefusedError with every sentence."""
    known = {one.id for one in lists} | {clause.id for pack in packs.values() for clause in pack.clauses}
    sentences = [*unknown_terms(customer.terms, packs), *unknown_exemptions(customer.exempt, known)]
    for overlap in overlaps:
        where = f" ({overlap.where})" if overlap.where else ""
        sentences.append(
            f"{overlap.prefix} overlaps {overlap.other_prefix} of customer {overlap.other}{where};"
            " an address can be one customer's only: remove that customer or give this one another prefix"
        )
    if sentences:
        raise RefusedError(f"customer {customer.id}: " + "\n".join(sentences))
