"""How a customer is reached: mail addresses, and languages of notices."""

from __future__ import annotations

import re

from sekisho.config.validation import shown
from sekisho.config.values import as_text

LANGUAGES = ("ja", "en")
"""Of notices."""
_EMAIL = re.compile(r"[^\s@<>,;]+@[^\s@<>,;]+")


def as_email(value: object) -> str:
    text = as_text(value)
    if not _EMAIL.fullmatch(text):
        raise ValueError(f"{shown(text)} is no mail address; write name@example.com")
    return text


def as_language(value: object) -> str:
    text = as_text(value).lower()
    if text not in LANGUAGES:
        raise ValueError(f"{shown(text)} is no language of notices; write {' or '.join(LANGUAGES)}")
    return text
