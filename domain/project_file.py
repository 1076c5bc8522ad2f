"""What a project file (Pulumi.yaml) says that concerns the stack files: the project's name, which is the namespace of
its settings, where the stack files lie, and settings that all stacks share.

It owns that reading. What else stands there is Pulumi's, and so is a project file that can't be read: Pulumi says so.
Form: https://www.pulumi.com/docs/iac/concepts/projects/project-file/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from domain.names import PROJECT

PROJECT_FILES: Final = ("Pulumi.yaml", "Pulumi.yml")
"""Names of a project file, in the order in which Pulumi looks for them. Its ending is that of the stack files, too."""
_OF_A_TYPE: Final = frozenset(("type", "description", "items", "default", "value", "secret"))


@dataclass(frozen=True)
class ProjectFile:
    """``namespace`` is the project's name. ``config`` holds shared settings by their whole keys, ours under
    ``isthmus:``; a stack file's own count over them, key by key. ``suffix`` is the ending of stack files.
    """

    namespace: str = PROJECT
    stack_directory: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    suffix: str = ".yaml"


def project_file(document: object, suffix: str) -> ProjectFile:
    """By the document that the file holds, whatever it is."""
    if not isinstance(document, Mapping):
        return ProjectFile(suffix=suffix)
    name, config = document.get("name"), document.get("config")
    namespace = name if isinstance(name, str) and name else PROJECT
    directory = document.get("stackConfigDir")
    if directory is None and isinstance(config, str):
        directory = config  # the older spelling
    shared = {}
    for key, value in config.items() if isinstance(config, Mapping) else ():
        whole = key if ":" in key else f"{namespace}:{key}"
        typed = isinstance(value, Mapping) and set(value) <= _OF_A_TYPE
        given = value.get("default", value.get("value")) if typed else value
        if given is not None:  # else a declaration alone
            shared[in_our_namespace(whole, namespace)] = given
    return ProjectFile(namespace, directory if isinstance(directory, str) else "", shared, suffix)


def in_our_namespace(key: str, namespace: str) -> str:
    """A key of the project, whatever that is called, as the program knows it."""
    return f"{PROJECT}:{key.removeprefix(f'{namespace}:')}" if key.startswith(f"{namespace}:") else key
