"""Comparison of rules on training traces and on traces that were held out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, final

from archgym.errors import InvalidArgumentError
from archgym.rules.domain import Result
from archgym.rules.language import RuleSource
from archgym.rules.sandbox import RuleRunner


@final
@dataclass(frozen=True)
class Entry:
    """A rule with its results on both parts."""

    name: str
    train: tuple[Result, ...]
    held_out: tuple[Result, ...]

    @property
    def train_loss(self) -> float:
        """Mean loss on the training traces."""
        return _mean(self.train)

    @property
    def held_out_loss(self) -> float:
        """Mean loss on the held-out traces; NaN without any."""
        return _mean(self.held_out)

    @property
    def problem(self) -> str:
        """Reason why the rule is infeasible on some trace; empty if it ran on all."""
        return next((each.problem for each in (*self.train, *self.held_out) if each.problem), "")


@final
@dataclass(frozen=True)
class Comparison:
    """Rules, best first by the loss on held-out traces, or on training traces without any."""

    domain: str
    entries: tuple[Entry, ...]
    loss: str = ""
    """Meaning of the loss."""

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON."""
        return {
            "domain": self.domain,
            "loss": self.loss,
            "policies": [
                {
                    "policy": entry.name,
                    "problem": entry.problem or None,
                    "train_loss": _finite(entry.train_loss),
                    "held_out_loss": _finite(entry.held_out_loss),
                    "train": [each.to_json() for each in entry.train],
                    "held_out": [each.to_json() for each in entry.held_out],
                }
                for entry in self.entries
            ],
        }


def compare_rules(
    sources: Mapping[str, RuleSource],
    train: Sequence[str],
    held_out: Sequence[str] = (),
    *,
    options: Mapping[str, str] | None = None,
    tuned: Mapping[str, int] | None = None,
    with_built_in: bool = True,
    runner: RuleRunner | None = None,
) -> Comparison:
    """Compare rules of one domain with each other and with the built-in ones.

    Args:
      sources: Rules by name.
      train: Traces that rules were made on.
      held_out: Traces that they were not made on.
      options: Options of the domain.
      tuned: Values of tunable constants.
      with_built_in: True to add the domain's built-in rules.
      runner: Process to run rules in; one is made by default.

    Raises:
      InvalidArgumentError: No rule or no trace is given, domains differ, or a trace is in both
        parts.
    """
    if not sources or not train:
        raise InvalidArgumentError("A comparison needs a rule and a trace.")
    domains = {source.domain.name: source.domain for source in sources.values()}
    if len(domains) > 1:
        raise InvalidArgumentError(
            f"Rules must be of one domain to be compared; got {', '.join(sorted(domains))}."
        )
    both = sorted(set(train) & set(held_out))
    if both:
        raise InvalidArgumentError(f"A held-out trace must not be a training trace; got {both[0]}.")
    chosen = next(iter(domains.values()))
    cases = [chosen.open_case(name, options or {}) for name in (*train, *held_out)]
    for seen, other in product(cases[: len(train)], cases[len(train) :]):
        if (n := other.shared_with(seen)) > 0:
            raise InvalidArgumentError(
                f"Held-out {other.name!r} has {n:,} sessions or requests of training trace "
                f"{seen.name!r}; take others."
            )
    entries = []
    used = runner or RuleRunner()
    try:
        for name, source in sources.items():
            results = [chosen.evaluate(source, case, used, tuned) for case in cases]
            entries.append(_entry(name, results, len(train)))
    finally:
        if runner is None:
            used.close()
    for name in chosen.built_in if with_built_in else ():
        results = [chosen.evaluate_built_in(name, case) for case in cases]
        entries.append(_entry(f"built-in {name}", results, len(train)))
    entries.sort(key=lambda entry: entry.held_out_loss if held_out else entry.train_loss)
    return Comparison(chosen.name, tuple(entries), chosen.loss)


def _entry(name: str, results: Sequence[Result], n_train: int) -> Entry:
    return Entry(name, tuple(results[:n_train]), tuple(results[n_train:]))


def _mean(results: Sequence[Result]) -> float:
    return sum(each.loss for each in results) / len(results) if results else math.nan


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
