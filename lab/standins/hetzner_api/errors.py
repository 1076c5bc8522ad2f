"""Errors in the API's own format: `{"error": {"code", "message", "details"}}` with the documented status codes.

Source of codes and status: https://docs.hetzner.cloud/reference/cloud, "Errors", and the operations' own tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ApiError(Exception):
    """A refusal that the client gets as it is; `details` depends on the code and is null for most."""

    def __init__(self, status: int, code: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{message} ({code})")
        self.status = status
        self.code = code
        self.message = message
        self.details = details

    def body(self) -> dict[str, Any]:
        """Return the body of the answer."""
        details = dict(self.details) if self.details is not None else None
        return {"error": {"code": self.code, "message": self.message, "details": details}}


def not_found(kind: str, identity: int | str) -> ApiError:
    """Return the refusal for something that does not exist; `kind` is its name in words."""
    return ApiError(404, "not_found", f"{kind} with ID '{identity}' not found")


def invalid_input(fields: Mapping[str, list[str]]) -> ApiError:
    """Refuse a body: `fields` maps each field to what is wrong with it; must not be empty."""
    first = next(iter(fields))
    message = f"invalid input in field '{first}': {', '.join(fields[first])}"
    if len(fields) > 1:
        message = f"invalid input in fields {', '.join(repr(name) for name in fields)}"
    details = {"fields": [{"name": name, "messages": messages} for name, messages in fields.items()]}
    return ApiError(422, "invalid_input", message, details)


def uniqueness_error(message: str, field: str) -> ApiError:
    """Refuse a value of `field` that another resource has."""
    return ApiError(409, "uniqueness_error", message, {"fields": [{"name": field}]})


def conflict(kind: str) -> ApiError:
    """Refuse a change of something that another action is changing; clients try again."""
    return ApiError(409, "conflict", f"{kind} is being changed by another action, please retry")


def locked(kind: str) -> ApiError:
    """Refuse a change while another action runs."""
    return ApiError(423, "locked", f"{kind} is locked (there is already an action running)")


def protected(kind: str) -> ApiError:
    """Refuse to delete what is protected."""
    return ApiError(423, "protected", f"{kind} deletion is protected")


def unprocessable(code: str, message: str) -> ApiError:
    """Return one of the many operation-specific errors, all of status 422."""
    return ApiError(422, code, message)
