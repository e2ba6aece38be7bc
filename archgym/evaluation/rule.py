"""Simulator of a rule, whose tunable constants are the design."""

import hashlib
import json
import os
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, final

import numpy as np

from archgym.errors import InvalidArgumentError, unknown_name
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import objective_of
from archgym.evaluation.simulator import BatchResult, Simulator, Workload
from archgym.rules.language import RuleSource
from archgym.rules.sandbox import RuleRunner
from archgym.spaces.parameter import Integer
from archgym.spaces.space import DesignSpace

_METRICS = (
    MetricSpec("loss", "", "minimise", 1e-3, "Loads or misses over those of the optimum."),
    MetricSpec("state_bits", "bit", "none", 1.0, "Storage of the rule."),
    MetricSpec("operations", "", "none", 1.0, "Operations of the longest function."),
)
_INFEASIBLE = "The rule faults or exceeds its limits."
# A runner serves one caller at a time.
_LOCK = threading.Lock()


@cache
def _runner(process: int, seconds: float) -> RuleRunner:
    """Return the runner of this process, which compiles a rule once for all its designs."""
    return RuleRunner(seconds)


@final
class RuleSimulator(Simulator):
    """Hardware policy as code on traces, with its tunable constants as parameters.

    The source is an option of the simulator, so that a study records it, and part of the digest of
    its tasks, so that a study of another rule is not continued by mistake. A rule that fails is
    an infeasible design.

    Args:
      source: The rule, with one tunable constant or more.
      traces: Traces of the domain, each of which is a workload.
      options: Options of the rule's domain.
      seconds: Time limit of one run [s].
    """

    version = 0
    metrics = _METRICS
    model_reasons = (_INFEASIBLE,)

    def __init__(
        self,
        source: RuleSource,
        traces: Sequence[str],
        *,
        options: Mapping[str, str] | None = None,
        seconds: float = 60.0,
    ) -> None:
        """Open nothing yet; traces are read when a workload is asked for.

        Raises:
          InvalidArgumentError: The rule has no tunable constant, or no trace is given.
        """
        if not source.tunables or not traces:
            raise InvalidArgumentError(
                "A rule needs a tunable constant and a trace to be searched. Declare one with "
                "NAME = tunable(default, low=…, high=…)."
            )
        self.name = f"policy-{source.domain.name}"
        self.space = DesignSpace(
            "default",
            [
                Integer(name=t.name, low=t.low, high=t.high, default=t.default, doc="Constant.")
                for t in source.tunables
            ],
        )
        self.objectives = {"low-loss": objective_of(["loss"], [], _METRICS)}
        self.default_objective = "low-loss"
        self.default_workload = str(traces[0])
        self.options = {"policy": source.text, **(options or {})}
        self._source = source
        self._traces = tuple(str(trace) for trace in traces)
        self._domain_options = dict(options or {})
        self._seconds = seconds
        self._cases: dict[str, Any] = {}

    def workload_names(self) -> tuple[str, ...]:
        """Return the traces."""
        return self._traces

    def workload(self, name: str | Path) -> Workload:
        """Return a trace, whose digest covers its content and the rule's source.

        Raises:
          UnknownNameError: The trace is not one of the simulator's.
        """
        text = str(name)
        if text not in self._traces:
            raise unknown_name("workload", text, self._traces)
        case = self._case(text)
        digest = hashlib.sha256(self._source.digest.encode())
        digest.update(json.dumps(self._domain_options, sort_keys=True).encode())
        for value in self._arguments(case).values():
            content = np.ascontiguousarray(value) if isinstance(value, np.ndarray) else repr(value)
            digest.update(
                content.tobytes() if isinstance(content, np.ndarray) else content.encode()
            )
        return Workload(text, digest.hexdigest(), None)

    def _case(self, name: str) -> Any:
        if name not in self._cases:
            opened = self._source.domain.open_case(name, self._domain_options)
            self._cases[name] = opened
        return self._cases[name]

    def _arguments(self, case: Any) -> Mapping[str, Any]:
        return dict(self._source.domain.case_input(case))

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Run the rule with the constants of each design in a process of its own."""
        values = np.full((len(indices), len(_METRICS)), np.nan)
        reason = np.zeros(len(indices), dtype=np.int16)
        case, domain = self._case(workload.name), self._source.domain
        with _LOCK:
            runner = _runner(os.getpid(), self._seconds)
            for row, design in enumerate(self.space.designs(indices)):
                tuned = {name: int(str(value)) for name, value in design.items()}
                found = domain.evaluate(self._source, case, runner, tuned)
                if found.problem:
                    reason[row] = self.reasons.index(_INFEASIBLE)
                else:
                    operations = max(self._source.operations(case.values).values())
                    bits = self._source.state_bits(case.sizes)
                    values[row] = (found.loss, bits, operations)
        return BatchResult(values, reason)
