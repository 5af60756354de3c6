"""Who may ask what of the daemon: two roles, and who has them.

A *viewer* reads everything the daemon tells, personal data included; an *operator* does so and
changes things. Roles are given to user and group ids; what the names in a file stand for is
`drivers.accounts`'.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

ROOT = 0


class Role(IntEnum):
    """A role, and with it every role below it."""

    VIEWER = 1
    OPERATOR = 2

    @property
    def label(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is at the other end of the API socket, as the kernel says: ids when it connected."""

    pid: int
    uid: int
    groups: frozenset[int]
    """The primary group and the supplementary ones."""
    user: str | None = None
    """The name of `uid`, if it has one."""

    @property
    def actor(self) -> str:
        """As it stands on the record: `uid:1000(name)`."""
        return f"uid:{self.uid}" if self.user is None else f"uid:{self.uid}({self.user})"


@dataclass(frozen=True, slots=True)
class Members:
    """Ids a role is given to."""

    users: frozenset[int] = frozenset()
    groups: frozenset[int] = frozenset()

    def __contains__(self, caller: Caller) -> bool:
        return caller.uid in self.users or not self.groups.isdisjoint(caller.groups)

    def __bool__(self) -> bool:
        return bool(self.users or self.groups)


@dataclass(frozen=True, slots=True)
class Roles:
    """The roles of one site. Root and the daemon's own user are operators whatever it says: they can change its files."""

    own: int
    """The user id the daemon runs as."""
    viewers: Members = Members()
    operators: Members = Members()

    def of(self, caller: Caller) -> Role | None:
        """The highest role of a caller, or None for one who has none."""
        if caller.uid in {ROOT, self.own} or caller in self.operators:
            return Role.OPERATOR
        return Role.VIEWER if caller in self.viewers else None

    @property
    def are_given(self) -> bool:
        """Whether anybody has a role besides root and the daemon's own user."""
        return bool(self.viewers or self.operators)
