"""The errors of the toolchain.

ToolchainError
├── UnknownToolError     a name that no recipe has
├── SettingError         a setting with a value that is not allowed
├── NotInstalledError    the way "installed" found no such tool in the pinned version
├── DownloadError        an official release could not be fetched or does not match its checksum
├── BuildError           Go refused to resolve, compile or link; carries the end of its output
└── PackageError         a Debian package is missing and could not be installed
"""

from __future__ import annotations


class ToolchainError(Exception):
    """A tool can't be made ready; the text says which, why, and what to do."""


class UnknownToolError(ToolchainError):
    """A name that no recipe has."""


class SettingError(ToolchainError):
    """A setting with a value that is not allowed."""


class NotInstalledError(ToolchainError):
    """The way "installed" found no such tool in the pinned version."""


class DownloadError(ToolchainError):
    """An official release could not be fetched or does not match its checksum.

    ``unreachable`` is true when no server answered at all, so that trying the next release would be a waste of time.
    """

    def __init__(self, message: str, *, unreachable: bool = False) -> None:
        super().__init__(message)
        self.unreachable = unreachable


class BuildError(ToolchainError):
    """Go refused to resolve, compile or link; the text carries the end of its output."""


class PackageError(ToolchainError):
    """A Debian package is missing and could not be installed."""
