"""Whether what is in force for a customer is carried out: by the plane, the kernel of this machine or a NAS; and if not, why.

Owns the sentences. What is in force is the record's and the configuration's to say (`control_standing`); nothing is kept here.
"""

from __future__ import annotations

from sekisho.app.control_core import Core
from sekisho.app.control_standing import NO_CAPACITY, View
from sekisho.config.coa import CoaMode
from sekisho.config.lines import LineMode
from sekisho.drivers.localtime import spoken
from sekisho.enforce.state import Role
from sekisho.model.customers import Customer
from sekisho.model.measures import Effect, Measure

ON_LINES = frozenset({Effect.LIMIT_RATE, Effect.LIMIT_MAIL})
"""Effects that are the kernel's or a NAS's to carry out; the others are the plane's."""
_SLOWING, _MAILING = (Role.DOWN, Role.UP), (Role.MAIL, Role.NO_MAIL)
OBSERVED = "the clause is observed only"


def held(view: View) -> str | None:
    """That the operator holds all enforcement, or None."""
    hold = view.book.hold
    return None if hold is None else f"enforcement is held since {spoken(hold.since)} by {hold.by}; `sekisho resume` ends that"


def why_not(core: Core, view: View, customer: Customer, measure: Measure) -> str | None:
    """Why nothing is done under a measure that is in force by the record; None: it is done, or it is done by hand."""
    standing = view.standing_of(measure)
    if measure.observe or standing.observe:
        return OBSERVED
    if standing.held:
        return held(view)
    if standing.exempt:
        return "the customer is exempt from it"
    if standing.rule is None or standing.rule.effect not in ON_LINES:
        return None
    return _not_on_line(core, view, customer, standing.rule.effect)


def _not_on_line(core: Core, view: View, customer: Customer, effect: Effect) -> str | None:
    """Why neither the kernel nor a NAS does it; None: one of them does."""
    if effect is Effect.LIMIT_RATE and view.enforcement(customer).rate is None:
        return NO_CAPACITY
    kernel = _not_by_kernel(core, customer, effect)
    if kernel is None:
        return None
    if effect is Effect.LIMIT_MAIL:
        return kernel or "without `lines:` nobody limits the sending of mail"
    asked = _not_by_nas(core, customer)
    if asked is None:
        return None
    return "; ".join(one for one in (kernel, asked) if one) or "with neither `lines:` nor `coa:` nobody slows lines"


def _not_by_kernel(core: Core, customer: Customer, effect: Effect) -> str | None:
    """Why the kernel of this machine does not do it; empty where it is not to; None: it does."""
    settings, slows = core.site.settings.lines, effect is Effect.LIMIT_RATE
    if settings is None:
        return ""
    if not (settings.shaping if slows else settings.mail):
        return f"`lines: {'shaping' if slows else 'mail'}: false`"
    if settings.mode is LineMode.OBSERVE:
        return "`lines: mode: observe`, so lines are observed only"
    prefixes = core.sessions.prefixes_of(customer.id)
    if not prefixes:
        return "no address of theirs is known, neither fixed nor of a live session"
    held = core.lines.known.state
    if any(held.word(role, prefix) is not None for role in (_SLOWING if slows else _MAILING) for prefix in prefixes):
        return None
    wrong = " ".join(core.lines.problems)
    return f"the kernel holds no limit of theirs{f', since {wrong}' if wrong else ''}; `sekisho lines show` tells how it stands"


def _not_by_nas(core: Core, customer: Customer) -> str | None:
    """Why no NAS does it; empty where none is to; None: one has acknowledged it."""
    settings = core.site.settings.coa
    if settings is None:
        return ""
    if settings.mode is CoaMode.OBSERVE:
        return "`coa: mode: observe`, so nothing is asked of NASes"
    targets = {one.key: one for one in core.nas.targets(customer.id)}
    if not targets:
        return "no session or fixed address of theirs is at a NAS of `coa:`"
    lines = [line for line in core.nas.book.lines_of(customer.id) if line.target.key in targets]
    if any(line.held is not None for line in lines):
        return None
    names = sorted({one.nas for one in targets.values()})
    refused = next((line.cause.word for line in lines if line.given_up is not None and line.cause is not None), None)
    said = f"refuses it ({refused})" if refused is not None else "has not acknowledged it"
    return f"NAS {', '.join(names)} {said}; `sekisho nas show {names[0]}` tells how it stands"
