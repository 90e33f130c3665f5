"""Every configuration key with its type, default and meaning, taken from the dataclasses themselves.

One source for ``ecofed presets --keys`` and for the reference page: the docstring under each field.
"""

from __future__ import annotations

import ast
import inspect
import sys
import types
import typing
from dataclasses import dataclass
from typing import Any, Literal

from ecofed.config import schema
from ecofed.files.disk import json_text


@dataclass(frozen=True, kw_only=True)
class Key:
    """One row of the reference."""

    key: str
    """Dotted, as in ``--set``."""
    type: str
    """In words: ``a whole number``, or the values to choose from."""
    default: Any
    doc: str
    """One paragraph of Markdown."""

    @property
    def default_text(self) -> str:
        """The default as ``--set`` takes it."""
        return self.default if isinstance(self.default, str) else json_text(self.default).replace("null", "none")


def configuration_keys() -> list[Key]:
    """All keys, in the order of :func:`ecofed.config.schema.all_keys`."""
    docs = _field_docs()
    defaults = schema.Config().to_dict()
    rows = []
    for dotted in schema.all_keys():
        section, _, name = dotted.rpartition(".")
        owner: Any = schema.section_types()[section] if section else schema.Config
        hints = typing.get_type_hints(owner)
        rows.append(
            Key(
                key=dotted,
                type=" | ".join(schema.all_methods()) if dotted == "method" else _type_text(hints[name]),
                default=getattr(owner(), name) if section else defaults[name],
                doc=next((docs[cls.__name__, name] for cls in owner.__mro__ if (cls.__name__, name) in docs), ""),
            )
        )
    return rows


def section_docs() -> dict[str, str]:
    """The first line of each section's docstring."""
    return {
        name: inspect.cleandoc(owner.__doc__ or "").partition("\n")[0] for name, owner in schema.section_types().items()
    }


def _field_docs() -> dict[tuple[str, str], str]:
    """``(class, field)`` -> the docstring under the field, on one line."""
    docs = {}
    owners = [schema.Config, *(base for owner in schema.section_types().values() for base in owner.__mro__[:-1])]
    modules = dict.fromkeys(sys.modules[owner.__module__] for owner in owners)
    for node in [node for module in modules for node in ast.walk(ast.parse(inspect.getsource(module)))]:
        if not isinstance(node, ast.ClassDef):
            continue
        for field, after in zip(node.body, node.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
                and isinstance(after.value.value, str)
            ):
                docs[node.name, field.target.id] = " ".join(after.value.value.replace("``", "`").split())
    return docs


def _type_text(hint: Any) -> str:
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return " | ".join(options)
    if origin in (types.UnionType, typing.Union):
        return " or ".join("none" if option is type(None) else _type_text(option) for option in options)
    return {int: "whole number", float: "number", bool: "true | false", str: "text"}[hint]
