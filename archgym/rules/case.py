"""Measurement of rules: a case to run on, and the result, shared by all domains.

A domain's case says what its simulation needs and what the counts mean. `evaluate` and `built_in`
do the rest: they check the rule, run it in a process of its own, and refuse impossible counts.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, final

from archgym.errors import InvalidArgumentError
from archgym.rules.domain import Result
from archgym.rules.language import RuleSource, bounds_of
from archgym.rules.sandbox import RuleRunner


class RuleCase(ABC):
    """Trace and hardware that rules of a domain are measured on.

    Subclasses are frozen dataclasses with a field `name`, the name of the trace.
    """

    name: str

    @property
    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """Sizes of arrays by name."""

    @property
    @abstractmethod
    def values(self) -> dict[str, int]:
        """Values of the domain by name."""

    @abstractmethod
    def arguments(
        self, source: RuleSource | None = None, tuned: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        """Return what the domain's simulation takes, next to sizes and values.

        Args:
          source: Rule that runs; None for the input that all rules share.
          tuned: Values of its tunable constants.

        Raises:
          InvalidArgumentError: A constant of the rule is out of range; the rule is infeasible.
        """

    @abstractmethod
    def built_in_counts(self, rule: str) -> Mapping[str, Any]:
        """Return the counts of a built-in rule.

        Raises:
          UnknownNameError: There is no such rule.
        """

    @abstractmethod
    def loss(self, counts: Mapping[str, Any]) -> float:
        """Return the number to minimise."""

    @abstractmethod
    def measures(self, counts: Mapping[str, Any]) -> dict[str, Any]:
        """Return the measures to report by name, as JSON types."""

    def check(self, rule: str, counts: Mapping[str, Any]) -> None:  # noqa: B027 - optional
        """Check that the counts of a rule do not beat a proven bound.

        Raises:
          SimulatorError: They are impossible: a defect of the simulator.
        """

    def shared_with(self, other: "RuleCase") -> int:
        """Return how many sessions, programs or the like both traces have; 0 if unknown."""
        del other
        return 0

    @final
    def input(
        self, source: RuleSource | None = None, tuned: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        """Return all that decides the counts of a rule: `arguments`, sizes and values."""
        return {**self.arguments(source, tuned), "sizes": self.sizes, "values": self.values}


@final
@dataclass(frozen=True, kw_only=True)
class RuleResult:
    """Measures of a rule on one case.

    Attributes:
      trace: Name of the trace.
      rule: Name of the rule.
      counts: Counts of the simulation; empty for an infeasible rule.
      measures: Measures to report, as JSON types; empty for an infeasible rule.
      loss: Number to minimise; infinite for an infeasible rule.
      state_bits: Storage of the rule [bits]; None for a built-in one.
      operations: Operations of one call by hook, on its longest path; None for a built-in one.
      problem: Reason why the rule is infeasible; empty if it ran.
    """

    trace: str
    rule: str
    counts: Mapping[str, Any] = field(default_factory=dict)
    measures: Mapping[str, Any] = field(default_factory=dict)
    loss: float = math.inf
    state_bits: int | None = None
    operations: Mapping[str, int] | None = None
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the measures as JSON; logs record it, so that names and their order stay."""
        found: dict[str, Any] = {"trace": self.trace, "policy": self.rule}
        if self.problem:
            return {**found, "problem": self.problem}
        operations = None if self.operations is None else dict(self.operations)
        return {
            **found,
            **self.measures,
            "state_bits": self.state_bits,
            "operations": operations,
        }


def evaluate(
    source: RuleSource,
    case: RuleCase,
    runner: RuleRunner,
    tuned: Mapping[str, int] | None = None,
) -> RuleResult:
    """Return the measures of a rule on a case; a rule that fails is infeasible.

    Args:
      source: The rule.
      case: Trace and hardware.
      runner: Process in which it runs.
      tuned: Values of its tunable constants.

    Raises:
      FileFormatError: One call of it may take too many steps.
      SimulatorError: It does better than the optimum; a defect of the simulator.
    """
    operations = bounds_of(source, case.values)
    try:
        counts = runner.run(source.text, case.input(source, tuned), tuned)
    except InvalidArgumentError as error:
        counts = {"problem": str(error)}
    if "problem" in counts:
        return RuleResult(trace=case.name, rule=source.name, problem=str(counts["problem"]))
    case.check(source.name, counts)
    return RuleResult(
        trace=case.name,
        rule=source.name,
        counts=counts,
        measures=case.measures(counts),
        loss=case.loss(counts),
        state_bits=source.state_bits(case.sizes),
        operations=operations,
    )


def built_in(rule: str, case: RuleCase) -> RuleResult:
    """Return the measures of a built-in rule on a case.

    Raises:
      UnknownNameError: There is no such rule.
    """
    counts = case.built_in_counts(rule)
    return RuleResult(
        trace=case.name,
        rule=rule,
        counts=counts,
        measures=case.measures(counts),
        loss=case.loss(counts),
    )


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
