"""Lists: label selector, filters, sorting and pages, as the query of a GET asks for them. Pure.

Works on the finished JSON objects, so what is filtered is what the client sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.standins.hetzner_api import errors, labels
from lab.standins.hetzner_api.labels import SelectorError
from lab.standins.hetzner_api.views import Json

PER_PAGE_DEFAULT = 25
PER_PAGE_LIMIT = 50

Query = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Page:
    """One page of a list and what `meta.pagination` says of it."""

    items: list[Json]
    page: int
    per_page: int
    total_entries: int

    @property
    def last_page(self) -> int:
        """The number of the last page; an empty list has one page."""
        return max(1, -(-self.total_entries // self.per_page))

    @property
    def next_page(self) -> int | None:
        """The number of the next page, None on the last."""
        return self.page + 1 if self.page < self.last_page else None

    @property
    def previous_page(self) -> int | None:
        """The number of the page before, None on the first."""
        return self.page - 1 if self.page > 1 else None

    def meta(self) -> Json:
        """Return the `meta` object of the answer."""
        return {
            "pagination": {
                "page": self.page,
                "per_page": self.per_page,
                "previous_page": self.previous_page,
                "next_page": self.next_page,
                "last_page": self.last_page,
                "total_entries": self.total_entries,
            }
        }


def select(items: Sequence[Json], query: Query, *, sort_fields: Sequence[str], filters: Sequence[str]) -> Page:
    """Return the page that the query asks for; raise ApiError `invalid_input` for a bad selector, page or sort.

    Each filter is a field of the objects; given more than once, any of the values matches.
    """
    chosen = list(items)
    for name in filters:
        if wanted := query.get(name):
            chosen = [item for item in chosen if str(item.get(name)) in wanted]
    for text in query.get("label_selector", []):
        if text:
            try:
                matches = labels.parse_selector(text)
            except SelectorError as error:
                raise errors.invalid_input({"label_selector": [str(error)]}) from error
            chosen = [item for item in chosen if matches(item["labels"])]
    for field, descending in reversed(_sort_order(query.get("sort", []), sort_fields)):
        chosen.sort(key=lambda item, field=field: _sort_key(item[field]), reverse=descending)  # type: ignore[misc]
    page = _positive(query, "page", 1)
    per_page = min(_positive(query, "per_page", PER_PAGE_DEFAULT), PER_PAGE_LIMIT)
    first = (page - 1) * per_page
    return Page(chosen[first : first + per_page], page, per_page, len(chosen))


def _sort_order(wanted: Sequence[str], allowed: Sequence[str]) -> list[tuple[str, bool]]:
    order = []
    for text in wanted:
        field, _, direction = text.partition(":")
        if field not in allowed or direction not in ("", "asc", "desc"):
            raise errors.invalid_input({"sort": [f"{text!r} is not one of {', '.join(allowed)} with :asc or :desc"]})
        order.append((field, direction == "desc"))
    return order or [("id", False)]


def _sort_key(value: Any) -> tuple[bool, Any]:
    return (value is None, value)


def _positive(query: Query, name: str, default: int) -> int:
    values = query.get(name)
    if not values:
        return default
    if not values[0].isdecimal() or int(values[0]) < 1:
        raise errors.invalid_input({name: ["must be a positive number"]})
    return int(values[0])
