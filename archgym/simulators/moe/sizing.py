"""Size a fleet: how many equal servers a load needs, which settings, and what it costs."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, final

from archgym.simulators.kit import (
    InvalidArgumentError,
    InvalidDesignError,
    default_workload,
    make_simulator,
)
from archgym.simulators.moe.simulator import MoeSimulator

# chosen: the highest rate of a replica is found within 3 %.
_CLOSE: Final = 1.03
_LOWEST, _HIGHEST = 1e-3, 1e4
_TARGETS: Final = ("ttft_p99_ms", "tpot_p99_ms")


@final
@dataclass(frozen=True, kw_only=True)
class Size:
    """Answer of `size`.

    Attributes:
      replicas: Equal deployments that share the load.
      design: Settings of each.
      metrics: Metrics of one of them at its share of the load.
      capacity_per_s: Highest rate of one that meets both targets [requests/s].
      breaks_first: Target that a higher rate misses, and the larger part of it.
    """

    replicas: int
    design: Mapping[str, Any]
    metrics: Mapping[str, float]
    capacity_per_s: float
    rate_per_s: float
    breaks_first: str

    @property
    def n_gpus(self) -> int:
        """Accelerators of all replicas."""
        return self.replicas * round(self.metrics["n_gpus"])

    @property
    def headroom_percent(self) -> float:
        """Load that may be added before a target is missed [%]."""
        return 100.0 * (self.capacity_per_s * self.replicas / self.rate_per_s - 1.0)


def size(
    options: Mapping[str, str], rate_per_s: float, ttft_p99_ms: float, tpot_p99_ms: float
) -> Size:
    """Return the fewest accelerators that serve a rate within both targets.

    Replicas share a Poisson load at random. Each holds the model on 1, 2, 4, ... accelerators of
    the server, which share it, or attend to requests of their own and spread the experts.

    Args:
      options: Options of the space `closed-loop`.
      rate_per_s: Requests a second.
      ttft_p99_ms: Target that 99 % of times to the first token meet.
      tpot_p99_ms: The same of the time per further token.

    Raises:
      InvalidArgumentError: No deployment on this server meets the targets, however low the load.
    """
    targets = dict(zip(_TARGETS, (ttft_p99_ms, tpot_p99_ms), strict=True))
    best: Size | None = None
    nearest, has_built = "", False
    for design in _designs(options):
        lowest = _serve(options, design, _LOWEST)
        if lowest is None or _missed(lowest, targets):
            # The last deployment that can be built has the most accelerators.
            if lowest is not None or not has_built:
                nearest, has_built = _why(options, design, lowest, targets), lowest is not None
            continue
        capacity, beyond = _capacity(options, design, targets)
        replicas = math.ceil(rate_per_s / capacity)
        found = _serve(options, design, rate_per_s / replicas)
        if found is None:
            continue
        new = Size(
            replicas=replicas, design=design, metrics=found, capacity_per_s=capacity,
            rate_per_s=rate_per_s, breaks_first=_reason(beyond, targets),
        )  # fmt: skip
        if best is None or (new.n_gpus, -new.headroom_percent) < (
            best.n_gpus, -best.headroom_percent
        ):  # fmt: skip
            best = new
    if best is None:
        raise InvalidArgumentError(
            f"No deployment on this server meets the targets: {nearest}. Take more or faster "
            "accelerators, fewer bits (`precision`), or longer targets."
        )
    return best


def simulator_of(options: Mapping[str, str]) -> MoeSimulator:
    """Return the simulator of the space `closed-loop` with these options."""
    found = make_simulator(MoeSimulator, "closed-loop", None, options)
    assert isinstance(found, MoeSimulator)
    return found


def _designs(options: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the deployments that are tried."""
    simulator = simulator_of({**options, "request_rate": "1"})
    space = simulator.space
    most = 1 << (simulator.node.n_gpus.bit_length() - 1)
    for power in range(most.bit_length()):
        n = 1 << power
        for change in ({"tensor": n, "data": 1}, {"tensor": 1, "data": n, "spread": "yes"}):
            known = {name: value for name, value in change.items() if name in space.names}
            design = {**space.default, **({"spread": "no"} if "spread" in space.names else {})}
            if n == 1 and "spread" in change:
                continue
            try:
                space.indices_of(design | known)
            except InvalidDesignError:
                continue
            yield design | known


def _serve(
    options: Mapping[str, str], design: Mapping[str, Any], rate_per_s: float
) -> dict[str, float] | None:
    """Return the metrics of a replica at a rate; None where it cannot be built."""
    rate = {"request_rate": repr(rate_per_s)}
    simulator = simulator_of({**options, **rate})
    found = simulator.evaluate(design, simulator.workload(default_workload(simulator)))
    if found.infeasible is not None:
        return None
    return {spec.name: found[spec.name] for spec in simulator.metrics}


def _missed(metrics: Mapping[str, float], targets: Mapping[str, float]) -> str:
    """Return the target that is missed by the largest factor; "" where both are met."""
    worst = max(targets, key=lambda name: metrics[name] / targets[name])
    return worst if metrics[worst] > targets[worst] else ""


def _capacity(
    options: Mapping[str, str], design: Mapping[str, Any], targets: Mapping[str, float]
) -> tuple[float, dict[str, float]]:
    """Return the highest rate at which a replica meets targets, and metrics just beyond it."""
    low, high, beyond = _LOWEST, 1.0, dict[str, float]()
    while high < _HIGHEST:
        found = _serve(options, design, high)
        if found is None or _missed(found, targets):
            beyond = found or {}
            break
        low, high = high, 4.0 * high
    while high / low > _CLOSE:
        middle = math.sqrt(low * high)
        found = _serve(options, design, middle)
        if found is None or _missed(found, targets):
            high, beyond = middle, found or beyond
        else:
            low = middle
    return low, beyond


def _why(
    options: Mapping[str, str],
    design: Mapping[str, Any],
    lowest: Mapping[str, float] | None,
    targets: Mapping[str, float],
) -> str:
    """Return why a deployment meets no load: its memory, or the target that it misses.

    Args:
      options, design: The deployment.
      lowest: Metrics at the lowest rate; None where the deployment cannot be built.
      targets: Most of each metric.
    """
    missed = _missed(lowest, targets) if lowest is not None else ""
    if lowest is not None and (missed != _TARGETS[0] or lowest["ttft_p50_ms"] > targets[missed]):
        return f"{missed} is {lowest[missed]:,.1f} ms at {_LOWEST:g} requests a second"
    simulator = simulator_of({**options, "request_rate": repr(_LOWEST)})
    workload = simulator.workload(default_workload(simulator))
    ready = simulator.prepared(design, workload)
    tokens = int((ready.requests.prompt_tokens + ready.requests.output_tokens).max())
    n_requests = ready.plan.max_context // tokens
    usable_gb = ready.server.gpu.memory_gb * ready.serving.memory_percent / 100.0
    memory = (
        f"of {usable_gb:.1f} GB of memory that an accelerator may use, weights and buffers take "
        f"{ready.plan.weight_bytes / 1e9:.1f} GB, which leaves room for the keys and values of "
        f"{n_requests} of the longest requests ({tokens:,} tokens)"
    )
    if lowest is None:
        return f"{ready.plan.infeasible}: {memory}"
    # Most first tokens come in time. At so low a rate the others can only have waited for room.
    return (
        f"{missed} is {lowest[missed]:,.1f} ms at {_LOWEST:g} requests a second, since requests "
        f"wait for memory: {memory}"
    )


def _reason(beyond: Mapping[str, float], targets: Mapping[str, float]) -> str:
    """Return which target a higher rate misses, and why."""
    if not beyond:
        return "none within the rates that were tried"
    missed = _missed(beyond, targets)
    if missed == "tpot_p99_ms":
        return "tpot_p99_ms: steps hold more requests and prompts"
    parts = {name: beyond[f"ttft_{name}_ms"] for name in ("server", "queue", "prefill")}
    return f"ttft_p99_ms: most of the mean is {max(parts, key=parts.__getitem__)}"
