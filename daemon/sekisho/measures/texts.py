"""What a notice says: templates, filled with facts, as plain text and as HTML.

A template is a text whose first line is `subject: ...`; paragraphs stand apart by an empty line. The HTML is
made of the same paragraphs by `layout.<language>.html`, with every character of a fact escaped; a template
`<occasion>.<language>.html` beside the text takes its place. Looked for, in this order:

    <clause>/<occasion>.<language>.txt     of the operator's folder, then of the shipped ones
    <occasion>.<language>.txt              likewise

where the clause is its id, with the pack as a folder: `gunma/別記-1/c2-block.ja.txt`. A file whose name starts with
`_` is for others to include. Templates run in
Jinja's sandbox and see the facts alone: strings, and for a digest the notices it holds. No fact is a name
that was asked for.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import DictLoader, StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sekisho.measures.words import Language
from sekisho.model.errors import ConfigError, Fault
from sekisho.model.measures import Occasion

MAX_TEXT = 64 * 1024
"""Characters of one notice at most."""
_SUBJECT = re.compile(r"subject:[ \t]*(?P<subject>[^\n]+)(?:\n|$)")
_TOO_LONG = "the notice came out longer than {} characters; shorten its template"


@dataclass(frozen=True, slots=True)
class Item:
    """One notice within a digest."""

    subject: str
    paragraphs: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """All a template sees. Each is one line of text in the notice's language, empty where it does not apply."""

    notice: str
    """The notice's number."""
    customer: str
    operator: str
    document: str
    """Title of the terms document."""
    clause: str
    """The clause's id."""
    article: str
    words: str
    """What the clause says."""
    at: str
    """When the notice was made."""
    effect: str = ""
    """What the measure does."""
    extent: str = ""
    reason: str = ""
    since: str = ""
    """When the measure, or the interruption, starts or started."""
    until: str = ""
    """When it ends, or is lifted, where that is known."""
    period: str = ""
    """How long it lasts, as the clause says."""
    remedy: str = ""
    """How to end it."""
    termination: str = ""
    """After how long the contract may be terminated."""
    termination_clause: str = ""
    """The id of the clause that says so."""
    fees: str = ""
    """Whether fees go on."""
    what: str = ""
    """What kind of interruption."""
    address: str = ""
    """The customer's own address, of an attention call, with its time in `since`."""
    contact: str = ""
    opt_out: str = ""
    """How to opt out of a list."""
    page: str = ""
    """Where the notice can be read on the web."""
    items: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class Text:
    """A notice ready to go."""

    language: Language
    subject: str
    paragraphs: tuple[tuple[str, ...], ...]
    """Lines of each paragraph."""
    html: str

    @property
    def plain(self) -> str:
        return "\n\n".join("\n".join(lines) for lines in self.paragraphs) + "\n"


class Templates:
    """The templates in force: the shipped ones and, before them, the operator's.

    `shipped` and `own` map the path within their folder to the text. `check` says what is wrong with `own`.
    """

    def __init__(self, shipped: Mapping[str, str], own: Mapping[str, str] | None = None) -> None:
        self._own = dict(own or {})
        self._shipped = frozenset(shipped)
        self._known = {**shipped, **self._own}
        self._environment = ImmutableSandboxedEnvironment(
            loader=DictLoader(self._known),
            autoescape=lambda name: name is not None and name.endswith(".html"),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def render(self, occasion: Occasion, language: Language, facts: Facts) -> Text:
        """The notice. Raises ConfigError, naming the template, if it cannot be filled."""
        name = self._find(occasion, language, facts.clause, "txt")
        values = {field.name: getattr(facts, field.name) for field in dataclasses.fields(facts)}
        written = self._fill(name, values)
        found = _SUBJECT.match(written)
        if found is None:
            raise ConfigError([Fault(name, 1, "the first line of a notice is `subject: ` and the subject; add it")])
        paragraphs = split(written[found.end() :])
        values["subject"], values["paragraphs"] = found["subject"].strip(), paragraphs
        own_html = self._find(occasion, language, facts.clause, "html", optional=True)
        html = self._fill(own_html or f"layout.{language}.html", values)
        return Text(language, values["subject"], paragraphs, html)

    def page(self, name: str, **values: object) -> str:
        """A page of several notices: `customer.<language>.html` or `index.html`. Raises ConfigError."""
        return self._fill(name, values)

    def check(self, folder: str) -> list[Fault]:
        """What is wrong with the operator's templates: each is filled with sample facts. `folder` is named in the faults."""
        faults: list[Fault] = []
        for name in sorted(self._own):
            try:
                self._check(name)
            except ConfigError as error:
                faults.extend(dataclasses.replace(fault, file=f"{folder}/{fault.file}") for fault in error.faults)
        return faults

    def _check(self, name: str) -> None:
        clause, _, file = name.rpartition("/")
        parts = file.split(".")
        occasions, languages = [str(one) for one in Occasion], [str(one) for one in Language]
        if len(parts) == 3 and parts[0] in occasions and parts[1] in languages and parts[2] in {"txt", "html"}:
            occasion, language = Occasion(parts[0]), Language(parts[1])
            if parts[2] == "html" and self._find(occasion, language, clause, "txt", optional=True) is None:
                raise ConfigError([Fault(name, 0, "an HTML template stands beside a text template of the same name; add that")])
            self.render(occasion, language, dataclasses.replace(SAMPLE, clause=clause or SAMPLE.clause))
        elif name not in self._shipped and not file.startswith("_"):
            known = ", ".join(occasions)
            raise ConfigError(
                [
                    Fault(
                        name,
                        0,
                        f"no notice is made of this file; templates are OCCASION.ja.txt, OCCASION.en.txt of {known}, and _NAME to include",
                    )
                ]
            )
        else:
            self._compile(name)

    def _find(self, occasion: Occasion, language: Language, clause: str, kind: str, *, optional: bool = False) -> str:
        file = f"{occasion}.{language}.{kind}"
        name = next((one for one in (f"{clause}/{file}", file) if one in self._known), "")
        if not name and not optional:
            raise ConfigError([Fault(file, 0, "there is no such template; add it to the folder of `notices: templates:`")])
        return name

    def _compile(self, name: str) -> None:
        try:
            self._environment.get_template(name)
        except TemplateError as error:
            raise ConfigError([_fault(error, name)]) from None

    def _fill(self, name: str, values: Mapping[str, object]) -> str:
        try:
            pieces, size = [], 0
            for piece in self._environment.get_template(name).generate(values):
                size += len(piece)
                if size > MAX_TEXT * (16 if name.endswith(".html") else 1):
                    raise ConfigError([Fault(name, 0, _TOO_LONG.format(MAX_TEXT))])
                pieces.append(piece)
        except TemplateError as error:
            raise ConfigError([_fault(error, name)]) from None
        except (ArithmeticError, AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError) as error:
            raise ConfigError([Fault(name, 0, f"the template cannot be filled ({type(error).__name__}); mend it")]) from None
        return "".join(pieces)


def split(text: str) -> tuple[tuple[str, ...], ...]:
    """Paragraphs, which stand apart by empty lines, as their lines."""
    found = re.split(r"\n[ \t]*(?:\n[ \t]*)+", text.strip("\n"))
    return tuple(tuple(line.rstrip() for line in one.strip("\n").split("\n")) for one in found if one.strip())


def one_line(text: object) -> str:
    """A fact as a notice may hold it: one line, with no control characters."""
    return " ".join("".join(character if character.isprintable() else " " for character in str(text)).split())


def digest_items(texts: Sequence[Text]) -> tuple[Item, ...]:
    return tuple(Item(text.subject, text.paragraphs) for text in texts)


def _fault(error: TemplateError, name: str) -> Fault:
    where = getattr(error, "name", None) or name
    return Fault(where, getattr(error, "lineno", None) or 0, f"{one_line(error.message or type(error).__name__)}; mend the template")


SAMPLE = Facts(
    notice="n-1",
    customer="c-1001",
    operator="Example ISP",
    document="Terms",
    clause="example/1",
    article="1",
    words="Words of the clause.",
    at="1 April 2026, 09:30 JST",
    effect="suspension",
    extent="in part",
    reason="a reason",
    since="1 April 2026, 09:30 JST",
    until="2 April 2026, 09:30 JST",
    period="for as long as the cause is there",
    remedy="Remove the cause.",
    termination="10 days",
    termination_clause="example/21",
    fees="Fees go on.",
    what="maintenance",
    address="192.0.2.1",
    contact="support@example.net",
    opt_out="By telephone.",
    page="https://notices.example.net/",
    items=(Item("A subject", (("A line.",),)),),
)
"""Facts the operator's templates are tried with."""
