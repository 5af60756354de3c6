"""Users and groups of this machine, as configuration names them."""

from __future__ import annotations

from typing import Annotated, Protocol

from pydantic import PlainValidator, ValidationInfo

from sekisho.config.validation import shown
from sekisho.config.values import as_text


class Accounts(Protocol):
    """The users and groups of the machine: their ids, or None for a name nobody has."""

    def user(self, name: str) -> int | None: ...

    def group(self, name: str) -> int | None: ...


def _as_user(value: object, info: ValidationInfo) -> int:
    return _as_account(value, info, "user", "useradd")


def _as_group(value: object, info: ValidationInfo) -> int:
    return _as_account(value, info, "group", "groupadd")


def _as_account(value: object, info: ValidationInfo, kind: str, tool: str) -> int:
    """A numeric id as it is; a name as what it stands for on this machine."""
    text = as_text(value)
    if text.isdecimal() and text.isascii():
        if int(text) >= NO_ID:
            raise ValueError(f"{text} is no {kind} id; they go from 0 to {NO_ID - 1}")
        return int(text)
    accounts = (info.context or {}).get("accounts")
    found = getattr(accounts, kind)(text) if accounts is not None else None
    if found is None:
        raise ValueError(f"there is no {kind} {shown(text)} on this machine; make it ({tool}), mend the name, or write a numeric id")
    return int(found)


NO_ID = (1 << 32) - 1
"""(uid_t) -1: no user's and no group's."""
User = Annotated[int, PlainValidator(_as_user)]
Group = Annotated[int, PlainValidator(_as_group)]
