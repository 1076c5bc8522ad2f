"""The API's rate limit: a bucket that holds an hour's requests and fills up evenly. Pure; time is passed in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

REQUESTS_PER_HOUR = 3600
_SECONDS_PER_HOUR = 3600


@dataclass
class RateLimit:
    """Counts requests. `remaining` is what is left in the bucket at `moment`."""

    requests_per_hour: int
    moment: datetime
    remaining: float = -1.0

    def __post_init__(self) -> None:
        if self.remaining < 0:
            self.remaining = float(self.requests_per_hour)

    def take(self, now: datetime) -> bool:
        """Count a request; False when it must be refused."""
        refilled = (now - self.moment).total_seconds() * self.requests_per_hour / _SECONDS_PER_HOUR
        self.remaining = min(float(self.requests_per_hour), self.remaining + max(0.0, refilled))
        self.moment = now
        if self.remaining < 1:
            return False
        self.remaining -= 1
        return True

    def headers(self) -> dict[str, str]:
        """Return the `RateLimit-*` headers; the reset is when the bucket will be full again."""
        missing = self.requests_per_hour - self.remaining
        full = self.moment + timedelta(seconds=missing * _SECONDS_PER_HOUR / self.requests_per_hour)
        return {
            "RateLimit-Limit": str(self.requests_per_hour),
            "RateLimit-Remaining": str(int(self.remaining)),
            "RateLimit-Reset": str(math.ceil(full.timestamp())),
        }
