"""What the models of ``domain/settings/`` say of each setting: the docstrings under their fields.

It owns the reading of that source. Only the schema and the reference want it, so no start of the program pays for it.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys

from pydantic import BaseModel


def description(model: type[BaseModel], field: str) -> str:
    """The docstring under the field, empty where there is none."""
    return _documented(model.__module__).get((model.__name__, field), "")


@functools.cache
def _documented(module: str) -> dict[tuple[str, str], str]:
    """Every docstring of the module that stands under a field, by class and field."""
    found = {}
    for node in ast.parse(inspect.getsource(sys.modules[module])).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for field, below in zip(node.body, node.body[1:], strict=False):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str() as text)):
                    found[node.name, name] = inspect.cleandoc(text)
    return found
