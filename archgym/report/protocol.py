"""How runs were judged; two reports are comparable where these are the same."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, final

__all__ = ["Protocol"]

# Raised when the meaning of a score or of an aggregate changes.
_VERSION = 2


@final
@dataclass(frozen=True)
class Protocol:
    """All that decides a score, beside the runs themselves."""

    budget: int
    """Evaluations after which runs are scored."""
    tasks: Mapping[str, Mapping[str, Any]]
    """By the task's digest, the rewards that score 0 and 1, and where they are from."""
    within_percent: tuple[float, ...] = (10.0, 5.0, 1.0, 0.0)
    level: float = 0.95
    resamples: int = 2000
    tuning_draws: int = 8
    """Settings that tuning in place compares within a run's budget."""
    seed: int = 0
    version: int = _VERSION

    def to_json(self) -> dict[str, Any]:
        """The protocol as data, its hash with it."""
        return {**asdict(self), "digest": self.digest}

    @property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()
