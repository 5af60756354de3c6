"""Cells of the CSV form of customers: each nested key of a customer as one cell or several.

Every function raises ValueError with a sentence; `bulk` adds the line and the column.
"""

from __future__ import annotations

import re

from sekisho.config.contacts import as_email, as_language
from sekisho.config.customers import as_capacity, as_moment, as_yen
from sekisho.config.document import read_document
from sekisho.config.register import Contract
from sekisho.config.validation import shown
from sekisho.config.values import as_text
from sekisho.model.customers import Consent, Fee, Plan
from sekisho.model.errors import ConfigError

Cells = dict[str, str]
"""Cells of one row by the full name of their column."""

_SEVERAL = re.compile(r"[\s,;]+")
_PARTS = re.compile(r"[\s,;|]+(?=\w+\s*[:=])")
"""What separates `key: value` or `key=value` from the next."""


def read_contract(cells: Cells) -> Contract:
    return Contract(read_terms(cells), read_plan(cells), read_group(cells), several(cells.get("exempt", "")), read_fee(cells))


def read_terms(cells: Cells) -> tuple[str, ...]:
    terms = several(cells["terms"])
    if not terms:
        raise ValueError("is empty; name the terms pack of the customer, or several separated by spaces")
    return terms


def read_consent(cells: Cells) -> Consent | None:
    if "consent" in cells:
        version, at = nested(cells["consent"], "consent", ("version", "at"))
    else:
        version, at = cells.get("consent.version", "").strip(), cells.get("consent.at", "").strip()
    if not version and not at:
        return None
    if not version or not at:
        raise ValueError("consent needs both: the version of the terms and when it was given; in one cell 2021-02-01@2021-03-15")
    return Consent(as_text(version), as_moment(at))


def read_plan(cells: Cells) -> Plan | None:
    if "plan" in cells:
        down, up = nested(cells["plan"], "plan", ("down_mbps", "up_mbps"))
    else:
        down, up = cells.get("plan.down_mbps", "").strip(), cells.get("plan.up_mbps", "").strip()
    if not down and not up:
        return None
    if not down or not up:
        raise ValueError("a plan needs both capacities in Mbit/s, down and up; in one cell 1000/100")
    return Plan(_mbps(down), _mbps(up))


def read_fee(cells: Cells) -> Fee | None:
    monthly, yearly = cells.get("fee.monthly", "").strip(), cells.get("fee.yearly", "").strip()
    if monthly and yearly:
        raise ValueError("a contract is paid by the month or by the year; leave one of fee.monthly and fee.yearly empty")
    text = monthly or yearly
    if not text:
        return None
    if not text.isdecimal():
        raise ValueError(f"expected whole yen, 0 or more; found {shown(text)}")
    return Fee(as_yen(int(text)), yearly=bool(yearly))


def read_group(cells: Cells) -> str | None:
    text = cells.get("group", "").strip()
    return as_text(text) if text else None


def read_email(cell: str) -> str | None:
    text = nested(cell, "contacts", ("email",))[0]
    return as_email(text) if text else None


def read_language(cell: str) -> str | None:
    return as_language(cell) if cell.strip() else None


def _mbps(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"expected the line's capacity in Mbit/s, found {shown(text)}") from None
    return as_capacity(number)


def several(cell: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for word in _SEVERAL.split(cell) if word))


def nested(cell: str, name: str, keys: tuple[str, ...]) -> tuple[str, ...]:
    """The parts of a nested key in one cell: `version@at`, `down/up`, or YAML's `{version: ..., at: ...}`.

    Also read: the parts with a space, `;` or `|` between them, and YAML without its braces or with `=`.
    Raises ValueError with a sentence.
    """
    text = cell.strip()
    if re.match(rf"(?:{'|'.join(keys)})\s*[:=]", text):
        text = "{" + ", ".join(re.sub(r"^(\w+)\s*[:=]\s*", r"\1: ", part) for part in _PARTS.split(text)) + "}"
    if text.startswith("{"):
        try:
            value = read_document(text, name).value
        except ConfigError as error:
            raise ValueError(f"cannot be read: {error.faults[0].message}") from None
        if not isinstance(value, dict) or not set(value) <= set(keys):
            raise ValueError(f"{name} has the keys {' and '.join(keys)}, no others")
        return tuple("" if value.get(key) is None else as_text(value[key]) for key in keys)
    if len(keys) == 1:
        return (text,)
    between = r"\s*[@/;|:]\s*|\s+" if name == "plan" else r"\s*[@;|]\s*|\s+"
    first, *rest = re.split(between, text, maxsplit=1)
    return first, rest[0] if rest else ""
