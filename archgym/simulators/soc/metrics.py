"""Metrics, limits and objectives of systems that run a task graph."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from archgym.simulators.kit import Limit, MetricSpec, Objective, Term
from archgym.simulators.soc.graph import Budgets, TaskGraph
from archgym.simulators.soc.kernel.state import OUTPUTS

# FARSI: a value within 0.1 % of its budget counts as met, and a met one as this much.
_MET_BELOW: Final = 0.001
_MET: Final = 1e-9
_MM2: Final = 1e6
# chosen: no run is as short, and nothing is divided by 0.
_LEAST_TIME_S: Final = 1e-30
# chosen: one part in a thousand of the least values that designs of the shipped graphs have.
_SPECS: Final = (
    MetricSpec("latency_s", "s", "minimise", 1e-8, "Time until the last workload ends."),
    MetricSpec("power_w", "W", "minimise", 1e-8, "Highest mean power over 10 ms."),
    MetricSpec("mean_power_w", "W", "none", 1e-8, "Energy over latency."),
    MetricSpec("energy_j", "J", "minimise", 1e-10, "Energy of the whole run."),
    MetricSpec("area_mm2", "mm2", "minimise", 1e-5, "Area of all blocks; buses have none."),
    MetricSpec("area_no_dram_mm2", "mm2", "minimise", 1e-5, "Area of all blocks but DRAM."),
    MetricSpec("dram_area_mm2", "mm2", "minimise", 1e-5, "Area of DRAM."),
    MetricSpec("sram_area_mm2", "mm2", "none", 1e-5, "Area of SRAM."),
    MetricSpec("processor_area_mm2", "mm2", "none", 1e-5, "Area of processors."),
    MetricSpec("accelerator_area_mm2", "mm2", "none", 1e-5, "Area of accelerators."),
    MetricSpec(
        "development_cost", "", "minimise", 1e-3, "FARSI's cost of development.", exact=True
    ),
    MetricSpec(
        "farsi_distance", "", "minimise", 1e-6, "FARSI's distance to the budgets: sum of excesses."
    ),
    MetricSpec("phases", "", "none", 1.0, "Phases of the simulation."),
    MetricSpec("processors", "", "none", 1.0, "Processors with tasks."),
    MetricSpec("accelerators", "", "none", 1.0, "Accelerators with tasks."),
    MetricSpec("memories", "", "none", 1.0, "Memories that are written to."),
    MetricSpec("buses", "", "none", 1.0, "Buses that carry data."),
    MetricSpec("processor_energy_j", "J", "none", 1e-10, "Energy of processors."),
    MetricSpec("accelerator_energy_j", "J", "none", 1e-10, "Energy of accelerators."),
    MetricSpec("sram_energy_j", "J", "none", 1e-10, "Energy of SRAM."),
    MetricSpec("dram_energy_j", "J", "none", 1e-10, "Energy of DRAM."),
)
COLUMNS: Final = tuple(spec.name for spec in _SPECS)
"""Metrics that every graph has; latencies of several workloads follow."""


def workload_metric(name: str) -> str:
    """Return the metric of a workload's latency."""
    return f"{name.replace('-', '_')}_latency_s"


def metrics(graph: TaskGraph) -> tuple[MetricSpec, ...]:
    """Return the metrics of a graph: with several workloads, the latency of each as well."""
    if len(graph.last_tasks) == 1:
        return _SPECS
    return (
        *_SPECS,
        *(
            MetricSpec(workload_metric(name), "s", "minimise", 1e-8, f"Time until {name} ends.")
            for name in graph.last_tasks
        ),
    )


def limits(graph: TaskGraph, budgets: Budgets) -> dict[str, float]:
    """Return the limits that a system must keep, by metric, in the metric's unit.

    They are those that FARSI's explorer works towards: the latency of each workload, peak power,
    area without DRAM, and DRAM's area against the same budget.
    """
    if len(graph.last_tasks) == 1:
        found = {"latency_s": next(iter(budgets.latency_s.values()))}
    else:
        found = {workload_metric(name): limit for name, limit in budgets.latency_s.items()}
    return {
        **found,
        "power_w": budgets.power_w,
        "area_no_dram_mm2": budgets.area_m2 * _MM2,
        "dram_area_mm2": budgets.area_m2 * _MM2,
    }


def objectives(graph: TaskGraph) -> Mapping[str, Objective]:
    """Return the objectives of a graph, by name; `budget` is the default.

    Budgets are hard limits, but for `farsi-budget` and `tight-budget`: there each missed budget
    counts by how far it is missed, and a system that meets all is worth 0.
    """
    tight = limits(graph, graph.tight_budgets)
    farsi = limits(graph, graph.budgets)
    area = {metric: limit for metric, limit in farsi.items() if "area" in metric}
    latency = {metric: limit for metric, limit in farsi.items() if "latency" in metric}
    found = (
        _limited("budget", tight, ("development_cost",), "Least cost in the tight budgets."),
        Objective("tight-budget", _at_most(tight), "Meet the tight budgets: 0 where all are met."),
        Objective("farsi-budget", _at_most(farsi), "Meet the budgets: 0 where all are met."),
        _limited("budget-then-cost", farsi, ("development_cost",), "Least cost in the budgets."),
        _limited("latency", area, ("latency_s",), "Least latency within the area budgets."),
        _limited("energy", area, ("energy_j",), "Least energy within the area budgets."),
        _limited("edp", area, ("latency_s", "energy_j"), "Least energy x latency within area."),
        _limited("efficiency", latency, ("energy_j",), "Least energy within the latency budgets."),
        _limited("pareto", {}, ("latency_s", "power_w", "area_mm2"), "For multi-objective search."),
        _limited("farsi-distance", {}, ("farsi_distance",), "FARSI's distance, minimised."),
        Objective(
            "archgym-2023",
            (Term("farsi_distance", "maximise"),),
            "The published reward for comparison: FARSI's distance, which its agents maximise.",
        ),
    )
    return {objective.name: objective for objective in found}


def _limited(
    name: str, limits_of: Mapping[str, float], minimise: tuple[str, ...], doc: str
) -> Objective:
    terms = tuple(Term(metric, "minimise") for metric in minimise)
    bounds = tuple(Limit(metric, "<=", bound) for metric, bound in limits_of.items())
    return Objective(name, terms, doc, limits=bounds)


def _at_most(limits_of: Mapping[str, float]) -> tuple[Term, ...]:
    return tuple(Term(metric, "at-most", target=limit) for metric, limit in limits_of.items())


def measure(graph: TaskGraph, outputs: np.ndarray) -> np.ndarray:
    """Return metrics, (n, n_metrics), of the kernel's results, (n, n_outputs)."""
    column = {name: outputs[:, i] for i, name in enumerate(OUTPUTS)}
    areas = {
        kind: column[f"{kind}_area_m2"] * _MM2
        for kind in ("sram", "dram", "processor", "accelerator")
    }
    no_dram = areas["sram"] + areas["processor"] + areas["accelerator"]
    found = {
        **column,
        "mean_power_w": column["energy_j"] / np.maximum(column["latency_s"], _LEAST_TIME_S),
        "area_mm2": no_dram + areas["dram"],
        "area_no_dram_mm2": no_dram,
        **{f"{kind}_area_mm2": area for kind, area in areas.items()},
        "development_cost": column["cost"],
    }
    for place, name in enumerate(graph.last_tasks):
        found[workload_metric(name)] = outputs[:, len(OUTPUTS) + place]
    # With one workload its latency is that of the whole run.
    bounds = limits(graph, graph.budgets)
    found["farsi_distance"] = np.sum(
        [_excess(found[name], bounds[name]) for name in bounds], axis=0
    )
    return np.stack([found[spec.name] for spec in metrics(graph)], axis=1)


def _excess(value: np.ndarray, budget: float) -> np.ndarray:
    excess = (value - budget) / budget
    return np.asarray(np.where(excess < _MET_BELOW, _MET, excess))


def is_met(
    values: np.ndarray, graph: TaskGraph, budgets: Budgets, slack: float = 0.0
) -> np.ndarray:
    """Return True where all budgets are met, (n,).

    Args:
      values: (n, n_metrics).
      graph: The graph whose metrics these are.
      budgets: Limits.
      slack: Share that a value may exceed its limit by; FARSI allows 0.001.
    """
    place = {spec.name: i for i, spec in enumerate(metrics(graph))}
    met = np.ones(len(values), dtype=bool)
    for metric, limit in limits(graph, budgets).items():
        met &= values[:, place[metric]] <= limit * (1.0 + slack)
    return np.asarray(met & np.isfinite(values).all(axis=1))
