"""What is to be done to lines by the configuration, before anybody knows whether it can be."""

from __future__ import annotations

from sekisho.config.lines import LineMode, LineSettings
from sekisho.config.settings import Settings
from sekisho.enforce.state import COUNTING, USAGE, Role
from sekisho.enforce.wanted import Where

_SILENCE, _MAIL, _SHAPE = frozenset({Role.SILENCE}), frozenset({Role.MAIL, Role.NO_MAIL}), frozenset({Role.DOWN, Role.UP})


def roles_of(settings: LineSettings) -> frozenset[Role]:
    """What is to be done by the configuration, whether it is done or only observed."""
    limiting = ((settings.silence, _SILENCE), (settings.mail, _MAIL), (settings.shaping, _SHAPE))
    chosen = (*limiting, (settings.counters, frozenset(USAGE)), (settings.queries, frozenset({Role.COUNT_QUERIES})))
    return frozenset(role for on, roles in chosen if on for role in roles)


def asked_of(settings: LineSettings | None) -> Where:
    """What is to be done: nothing without `lines:`, and where lines are only observed no more than counting."""
    if settings is None:
        return Where(roles=frozenset())
    roles = roles_of(settings)
    return Where(settings.customers, "", roles if settings.mode is LineMode.ENFORCE else roles & COUNTING)


def differ(one: Settings, other: Settings) -> bool:
    """Whether another configuration has something else done to lines."""
    return one.lines != other.lines or one.listen != other.listen
