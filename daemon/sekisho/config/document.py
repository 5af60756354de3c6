"""A YAML document that remembers the line of everything in it.

Owns reading YAML strictly: duplicate keys, recursive aliases and broken text become faults; plain
scalars follow YAML 1.2's core schema (only `true` and `false` are booleans, dates and
sexagesimals stay text), and a number keeps its own text, so that a version `2.10` is not `2.1`.
What the values mean is for `validation` and the models.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import yaml

from sekisho.model.errors import ConfigError, Fault

Path = Sequence[str | int]

LEVELS = 64
"""How deep a document may be nested; ours need ten. Parser and reader recurse, and libyaml's parser has no limit of its own."""
_TOO_DEEP = f"is nested more than {LEVELS} levels deep; no Sekisho file needs more than ten: look at the brackets and the indentation"


class Decimal(float):
    """A number that keeps the text it was written in."""

    __slots__ = ("text",)

    def __new__(cls, text: str) -> Self:
        number = super().__new__(cls, text)
        number.text = text
        return number

    text: str


class _TooDeepError(Exception):
    """Nested deeper than LEVELS, at the `line`."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the C parser where libyaml is there
    """Composes nodes; resolves plain scalars by the core schema instead of YAML 1.1's."""

    yaml_implicit_resolvers: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  # PyYAML's own form
    _depth = 0

    def descend_resolver(self, parent: yaml.Node | None, _index: object) -> None:
        """Called for each node before it is composed. Raises _TooDeepError before the parser's own recursion can end the process."""
        self._depth += 1
        if self._depth > LEVELS:
            raise _TooDeepError(parent.start_mark.line + 1 if parent is not None else 0)

    def ascend_resolver(self) -> None:
        self._depth -= 1


for _tag, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", list("-+0123456789")),
    ("float", r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


@dataclass(frozen=True, slots=True)
class Document:
    """The values of a file (dict, list, str, int, float, bool, None) and where they stand."""

    file: str
    value: object
    node: yaml.Node | None = None
    faults: tuple[Fault, ...] = ()
    """What is wrong with the document as such: keys that stand twice."""

    def locate(self, path: Path) -> tuple[int, tuple[str | int, ...]]:
        """The line of what is at `path`, and as much of the path as means something in the file.

        A part that is not in the file is passed over, unless it is the last: that is a missing key.
        """
        node, line, known = self.node, 0, list[str | int]()
        if node is None:
            return 0, tuple(path)
        line = node.start_mark.line + 1
        for index, part in enumerate(path):
            found = _child(node, part)
            if found is not None:
                key, node = found
                line = key.start_mark.line + 1
                known.append(part)
            elif index == len(path) - 1:
                known.append(part)
        return line, tuple(known)

    def item_lines(self, key: str) -> list[int]:
        """The line of every item of the list under `key`."""
        found = _child(self.node, key)
        node = found[1] if found else None
        return [item.start_mark.line + 1 for item in node.value] if isinstance(node, yaml.SequenceNode) else []

    def fault(self, path: Path, message: str) -> Fault:
        line, known = self.locate(path)
        return Fault(self.file, line, message, dotted(known))


def dotted(path: Path) -> str:
    """`lists[2].answer`, as messages name a place in a file."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def read_document(text: str, file: str) -> Document:
    """Read one YAML document. Raises ConfigError with every duplicate key, or the one place it is broken at."""
    document = scan_document(text, file)
    if document.faults:
        raise ConfigError(list(document.faults))
    return document


def scan_document(text: str, file: str) -> Document:
    """The same for one who looks on for further faults: of a key that stands twice the first is taken.

    Raises ConfigError only for what cannot be read at all.
    """
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ConfigError([_broken(error, text, file)]) from None
    except _TooDeepError as error:
        raise ConfigError([Fault(file, error.line, _TOO_DEEP)]) from None
    if node is None:
        raise ConfigError([Fault(file, 0, "the file is empty; it starts with `version: 1`")])
    reader = _Reader(file)
    return Document(file, reader.value(node, ()), node, tuple(reader.faults))


class _Reader:
    """Nodes into values, collecting faults."""

    def __init__(self, file: str) -> None:
        self.faults: list[Fault] = []
        self._file = file
        self._open: set[int] = set()

    def value(self, node: yaml.Node, path: tuple[str | int, ...]) -> object:
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if id(node) in self._open:
            self._fault(node, path, "an alias points back at what contains it; write the value out")
            return None
        if len(self._open) == LEVELS:
            self._fault(node, path, _TOO_DEEP)  # by aliases: the text itself is not so deep
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
            return self._mapping(node, path)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.Node, path: tuple[str | int, ...]) -> dict[str, object]:
        result: dict[str, object] = {}
        lines: dict[str, int] = {}
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._fault(key, path, "a key must be a plain word, not a list or a mapping")
                continue
            name, line = key.value, key.start_mark.line + 1
            if name in lines:
                self._fault(key, (*path, name), f"the key stands twice, first on line {lines[name]}; keep one of them")
                continue
            lines[name] = line
            result[name] = self.value(item, (*path, name))
        return result

    def _scalar(self, node: yaml.ScalarNode, path: tuple[str | int, ...]) -> object:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        text = str(node.value)
        if kind == "str":
            return text
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        try:
            if kind == "int":
                return int(text)
            if kind == "float":
                return Decimal(text)
        except ValueError:
            pass
        self._fault(node, path, f"the tag {node.tag} is not read here; write the value without it")
        return None

    def _fault(self, node: yaml.Node, path: tuple[str | int, ...], message: str) -> None:
        self.faults.append(Fault(self._file, node.start_mark.line + 1, message, dotted(path)))


def _child(node: yaml.Node | None, part: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, item in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == part:
                return key, item
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None


def _broken(error: yaml.YAMLError, text: str, file: str) -> Fault:
    """One sentence for what PyYAML found, at the line where it can be mended."""
    mark: Any = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        position = getattr(error, "position", None)
        line = text.count("\n", 0, position) + 1 if isinstance(position, int) else 0
        return Fault(file, line, "the text has a character that YAML does not allow (a control character); remove it")
    line = mark.line + 1
    rows = text.splitlines()
    row = rows[mark.line] if mark.line < len(rows) else ""
    if "\t" in row[: len(row) - len(row.lstrip())] or row[mark.column : mark.column + 1] == "\t":
        return Fault(file, line, "a tab stands in the indentation; YAML takes spaces only")
    problem = str(getattr(error, "problem", None) or "cannot be read")
    context = getattr(error, "context", None)
    what = f"{problem} {context}" if context else problem
    return Fault(file, line, f"broken YAML: {what}; look at the indentation, the colons and the quotes of this line and the one before")
