"""What an image and a layer are described by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class File:
    """A file of ours in a layer; a path in an artifact of the toolchain, a path in the repository, or a text."""

    target: str
    tool: str = ""
    source: str = ""
    text: str = ""
    mode: int = 0o755


@dataclass(frozen=True)
class Tree:
    """A directory of a toolchain artifact that goes into a layer with everything below it."""

    target: str
    tool: str
    source: str


@dataclass(frozen=True)
class LayerRecipe:
    """One layer: the files of Debian packages, and files of ours on top.

    ``packages`` come with what they depend on, ``single_packages`` without; ``below`` names the layer whose packages
    are there already.
    """

    name: str
    packages: tuple[str, ...] = ()
    single_packages: tuple[str, ...] = ()
    below: str = ""
    content: tuple[File | Tree, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    directories: tuple[tuple[str, int], ...] = ()
    without: tuple[str, ...] = ()
    """Paths that are left out: a file, or with a slash at the end everything below."""
    only: tuple[str, ...] = ()
    """When given, nothing but these paths (of the packages' files) is taken."""

    @property
    def tools(self) -> tuple[str, ...]:
        """The toolchain's artifacts that go in."""
        return tuple(dict.fromkeys(item.tool for item in self.content if item.tool))


@dataclass(frozen=True)
class ImageRecipe:
    """One image: its full name, its layers from the bottom, and what a container of it runs."""

    reference: str
    layers: tuple[str, ...]
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    working_directory: str = "/"

    @property
    def slug(self) -> str:
        """The name of its directory in the cache."""
        return self.reference.replace("/", "_").replace(":", "_")
