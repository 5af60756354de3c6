"""Verbs about terms packs: what one says, and how they compare. They read files, and need no daemon."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sekisho.cli.base import Verbs, answer, chosen_config
from sekisho.cli.client import Json
from sekisho.cli.text import fold, plain, table
from sekisho.model.errors import RefusedError, UnavailableError

if TYPE_CHECKING:
    from sekisho.model.clauses import Clause, Pack
    from sekisho.terms.criteria import Figures

_FILE = re.compile(r"(?P<path>.*\.ya?ml)(?:/(?P<article>[^/]+))?")
_COLUMNS = 100


@click.group(cls=Verbs)
def terms() -> None:
    """What your terms of service authorise, as the daemon reads it.

    \b
      sekisho terms show nbnet/22-2-5
      sekisho terms matrix
      sekisho terms criteria

    PACK is the id of a pack that `terms:` of the configuration names or that is shipped with
    Sekisho, or the path of a file of your own. No daemon has to run.
    """


@terms.command()
@click.argument("pack", metavar="PACK[/CLAUSE]")
def show(pack: str) -> None:
    """A pack, clause by clause: what it says in both languages, and what its rules do.

    \b
      sekisho terms show gunma
      sekisho terms show nbnet/22-2-5
      sekisho terms show ./example-isp.yaml/12
      sekisho terms show vectant --json | jq '.clauses[] | select(.informative)'
    """
    from sekisho.terms.describe import clause_body, pack_body  # noqa: PLC0415 - client verbs start fast

    found, clause = _find(pack)
    if clause is None:
        answer(pack_body(found), lambda _: _pack_lines(found))
    else:
        answer({"pack": found.id, **clause_body(clause)}, lambda _: _clause_lines(clause))


@terms.command()
@click.argument("packs", metavar="[PACK]...", nargs=-1)
def matrix(packs: tuple[str, ...]) -> None:
    """Packs against capabilities: the table to compare them by.

    Without a PACK, those of the configuration and those shipped with Sekisho. What is under no
    pack's clauses is left out; `-` means that the document says nothing of it.

    \b
      sekisho terms matrix
      sekisho terms matrix gunma nbnet ./example-isp.yaml
      sekisho terms matrix --json | jq '.capabilities[] | select(.capability == "outage credit")'
    """
    from sekisho.drivers.site import load_pack, shipped_packs  # noqa: PLC0415 - client verbs start fast
    from sekisho.terms.matrix import matrix as compare  # noqa: PLC0415 - client verbs start fast

    configured = _configured()
    if packs:
        chosen = {found.id: found for found in (_find(name)[0] for name in packs)}
    else:
        chosen = configured | {name: load_pack(name) for name in shipped_packs() if name not in configured}
    names = list(chosen)
    rows = [("in `terms:`", tuple("yes" if name in configured else "no" for name in names))] if configured else []
    rows += [(row.capability, row.cells) for row in compare(chosen.values())]
    capabilities = [
        {"capability": what, "packs": {name: cell or None for name, cell in zip(names, cells, strict=True)}} for what, cells in rows
    ]
    body = {"packs": names, "configured": list(configured), "capabilities": capabilities}
    answer(body, lambda _: table(("", *names), [(what, *cells) for what, cells in rows]))


@terms.command()
@click.argument("packs", metavar="[PACK]...", nargs=-1)
@click.option("--lang", type=click.Choice(("ja", "en")), default="ja", show_default=True, help="The language of the text.")
def criteria(packs: tuple[str, ...], lang: str) -> None:
    """The criteria by which a machine finds who is limited, as a text to publish.

    Every figure the detectors decide by: those of the terms, and those of `bandwidth:`,
    `duplicates:` and `detection:` of the configuration. Without a PACK, those of the configuration.

    \b
      sekisho terms criteria
      sekisho terms criteria nbnet --lang en
      sekisho terms criteria --json | jq '.criteria[] | select(.clause == "nbnet/22-2-4")'
    """
    from sekisho.terms.criteria import criteria as tell  # noqa: PLC0415 - client verbs start fast
    from sekisho.terms.criteria import foreword  # noqa: PLC0415 - client verbs start fast

    chosen = [_find(name)[0] for name in packs] or list(_configured().values())
    if not chosen:
        raise RefusedError("the configuration names no terms pack; name one, such as nbnet, or give --config FILE")
    found = tell(chosen, _figures(), lang)
    body = {
        "language": lang,
        "foreword": list(foreword(lang)),
        "criteria": [
            {
                "clause": one.clause,
                "article": one.article,
                "document": one.document,
                "says": one.says,
                "detector": one.detector.value,
                "sentences": list(one.sentences),
            }
            for one in found
        ],
    }
    answer(body, _criteria_lines)


def _figures() -> Figures:
    """The figures of the configuration; the defaults where there is none."""
    from sekisho.config.bandwidth import Bandwidth, Duplicates  # noqa: PLC0415 - client verbs start fast
    from sekisho.config.detection import Detection  # noqa: PLC0415 - client verbs start fast
    from sekisho.drivers.site import load_settings  # noqa: PLC0415 - client verbs start fast
    from sekisho.terms.criteria import Figures  # noqa: PLC0415 - client verbs start fast

    try:
        settings = load_settings(chosen_config())
    except UnavailableError:
        return Figures(Bandwidth(), Duplicates(), Detection())
    agreed = any(one.sessions is not None for one in settings.groups.values())
    return Figures(settings.bandwidth, settings.duplicates, settings.detection, agreed)


def _criteria_lines(body: Json) -> Iterable[str]:
    yield from (line for one in body["foreword"] for line in fold(one, _COLUMNS))
    for one in body["criteria"]:
        yield ""
        yield plain(f"{one['document']} {one['article']}  [{one['clause']}]")
        yield from fold(one["says"], _COLUMNS, first="  ", more="  ")
        for said in one["sentences"]:
            yield from fold(said, _COLUMNS, first="  - ", more="    ")


def _configured() -> dict[str, Pack]:
    """The packs of the configuration, if there is one."""
    from sekisho.drivers.site import load_packs  # noqa: PLC0415 - client verbs start fast

    try:
        path = chosen_config()
    except UnavailableError:
        return {}
    return load_packs(path)


def _find(name: str) -> tuple[Pack, Clause | None]:
    """The pack, and the clause if one is named. Raises RefusedError with what there is."""
    from sekisho.config.validation import did_you_mean  # noqa: PLC0415 - client verbs start fast
    from sekisho.drivers.site import load_pack, shipped_packs  # noqa: PLC0415 - client verbs start fast

    file = _FILE.fullmatch(name)
    if file is not None:
        pack = load_pack(str(Path(file["path"])))
        wanted = f"{pack.id}/{file['article']}" if file["article"] else ""
    else:
        pack_id, slash, _ = name.partition("/")
        wanted = name if slash else ""
        configured, shipped = _configured(), shipped_packs()
        if pack_id not in configured and pack_id not in shipped:
            hint = did_you_mean(pack_id, [*configured, *shipped])
            raise RefusedError(f"there is no terms pack {pack_id}{hint}; for a file of your own write its path, ./{pack_id}.yaml")
        pack = configured.get(pack_id) or load_pack(pack_id)
    if not wanted:
        return pack, None
    clause = pack.clause(wanted)
    if clause is None:
        ids = [one.id for one in pack.clauses]
        raise RefusedError(f"{pack.id} has no clause {wanted}{did_you_mean(wanted, ids)}; `sekisho terms show {pack.id}` shows them all")
    return pack, clause


def _pack_lines(pack: Pack) -> Iterable[str]:
    yield plain(f"{pack.id}: {pack.title}, {pack.operator}, {pack.version}")
    for clause in pack.clauses:
        yield ""
        yield from _clause_lines(clause)


def _clause_lines(clause: Clause) -> Iterable[str]:
    from sekisho.terms.describe import describe, kind_of  # noqa: PLC0415 - client verbs start fast

    yield plain(f"{clause.id}  {clause.article}")
    for text in (clause.ja, clause.en, f"informative: {clause.informative}" if clause.informative else ""):
        yield from fold(text, _COLUMNS, first="  ", more="  ") if text else ()
    for rule in clause.rules:
        yield f"  {kind_of(rule)}"
        told = describe(rule)
        column = max(len(label) for label, _ in told) + 2
        for label, words in told:
            yield from fold(words, _COLUMNS, first=f"    {label:<{column}}", more=" " * (4 + column))
