"""What the names of users and groups stand for on this machine."""

from __future__ import annotations

import grp
import pwd


class SystemAccounts:
    """Looks names up where the system does (`nsswitch.conf`). Implements `config.settings.Accounts`."""

    def user(self, name: str) -> int | None:
        """The id of a user; None if there is none of that name."""
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            return None

    def group(self, name: str) -> int | None:
        """The id of a group; None if there is none of that name."""
        try:
            return grp.getgrnam(name).gr_gid
        except KeyError:
            return None
