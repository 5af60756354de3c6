"""Pydantic's errors, into faults that say where and what to do.

Owns the base of every file's model and the words of its faults; knows no file's content.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from sekisho.config.document import Document
from sekisho.model.errors import ConfigError, Fault


class FileModel(BaseModel):
    """Base of the models of files: frozen, and a key nobody knows is a fault.

    The docstrings of fields are the schema's alone (`terms.schema`): for pydantic to read them, every start
    would parse the source of every model.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


Model = TypeVar("Model", bound=FileModel)

_KINDS = {
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
}


def validate(model: type[Model], document: Document, context: Mapping[str, Any] | None = None) -> Model:
    """The document as its model. Raises ConfigError with every fault, those of the document as such included."""
    faults = list(document.faults)
    if not isinstance(document.value, dict):
        message = f"expected a mapping of keys to values, found {shown(document.value)}; the file starts with `version: 1`"
        raise ConfigError([*faults, document.fault((), message)])
    try:
        valid = model.model_validate(document.value, context=dict(context or {}))
    except ValidationError as error:
        raise ConfigError(faults + faults_of(error, model, document)) from None
    if faults:
        raise ConfigError(faults)
    return valid


def faults_of(error: ValidationError, model: type[BaseModel], document: Document) -> list[Fault]:
    """Every fault pydantic found, each once."""
    details = error.errors(include_url=False)
    places = {detail["loc"][:depth] for detail in details for depth in range(len(detail["loc"]))}
    # A list whose items are all wrong is also too short to pydantic: its items say it all.
    told = [detail for detail in details if detail["type"] != "too_short" or detail["loc"] not in places]
    return list(dict.fromkeys(document.fault(detail["loc"], _sentence(detail, model)) for detail in told))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` - did you mean `x`?`, or what there is to choose from, or nothing."""
    words = sorted(set(known))
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if near:
        return f"; did you mean `{near[0]}`?"
    return f"; known are {', '.join(words)}" if 0 < len(words) <= 24 else ""


def shown(value: object) -> str:
    """A value as a message shows it: short, and never more than a line."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, bool | int | float):
        return str(value).lower()
    text = str(value)
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _sentence(detail: ErrorDetails, model: type[BaseModel]) -> str:
    kind, found, context = detail["type"], detail["input"], detail.get("ctx", {})
    match kind:
        case "value_error":
            sentence = str(context["error"])
        case "missing":
            sentence = "the key is missing; add it"
        case "extra_forbidden":
            sentence = "unknown key" + did_you_mean(str(detail["loc"][-1]), _keys_beside(model, detail["loc"][:-1]))
        case "enum" | "literal_error":
            choices = [choice.strip("'") for choice in str(context["expected"]).replace(" or ", ", ").split(", ")]
            sentence = f"must be one of {', '.join(choices)}; found {shown(found)}"
        case "union_tag_not_found":
            sentence = f"the key {str(context['discriminator']).strip(chr(39))} is missing; it says what the rest means"
        case "union_tag_invalid":
            sentence = (
                f"{str(context['discriminator']).strip(chr(39))} must be one of {context['expected_tags']}; found {shown(context['tag'])}"
            )
        case "too_short":
            sentence = "is empty; write at least one" if context["min_length"] == 1 else f"needs at least {context['min_length']}"
        case "too_long":
            sentence = f"holds {context['actual_length']}; at most {context['max_length']} are possible"
        case "greater_than_equal" | "less_than_equal":
            bound = f"at least {context['ge']}" if "ge" in context else f"at most {context['le']}"
            sentence = f"must be {bound}; found {shown(found)}"
        case _ if kind in _KINDS:
            sentence = f"expected {_KINDS[kind]}, found {shown(found)}"
        case _:
            sentence = f"{detail['msg'][:1].lower()}{detail['msg'][1:]}; found {shown(found)}"
    return sentence


def _keys_beside(model: type[BaseModel], path: tuple[str | int, ...]) -> set[str]:
    """The keys the models at `path` know, where `path` is pydantic's."""
    models = [model]
    for part in path:
        fields = [field for one in models for name, field in one.model_fields.items() if part in {name, field.alias}]
        if fields:
            models = [one for field in fields for one in _models_in(field.annotation)]
        elif isinstance(part, str):  # the tag of a union
            models = [one for one in models if part in _tags(one)] or models
    return {field.alias or name for one in models for name, field in one.model_fields.items()}


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [one for inner in get_args(annotation) for one in _models_in(inner)]


def _tags(model: type[BaseModel]) -> set[str]:
    return {
        str(value)
        for field in model.model_fields.values()
        if getattr(field.annotation, "__origin__", None) is Literal
        for value in get_args(field.annotation)
    }
