"""Whose a user name is: by log-in name or id, with a realm or without it. Never a guess."""

from __future__ import annotations

from sekisho.app.control_people import People


class Logins:
    """User names as access servers tell them."""

    def __init__(self) -> None:
        self.realms: tuple[str, ...] = ()
        """What may stand after an `@` and is no part of a user's name."""

    def whose(self, user: str, people: People) -> str | None:
        """The customer of a user name, after a realm that is no part of it; None: nobody's whom we know."""
        if not user:
            return None
        found = people.with_login(user)
        return people.with_login(self._without_realm(user)) if found is None and self.realms else found

    def id_of(self, user: str, people: People) -> str:
        """The ID behind a user name: one that is told with a realm and without it is the same."""
        return user if people.with_login(user) is not None else self._without_realm(user)

    def _without_realm(self, user: str) -> str:
        name, _, realm = user.rpartition("@")
        return name if realm in self.realms else user
