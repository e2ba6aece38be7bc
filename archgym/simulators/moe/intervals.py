"""90 % intervals of predicted times: wider, the less of a question was measured.

`python -m evidence.moe.bars FOLDER --write` learns their ends from errors where configurations,
GPUs, models, engines, releases and loads are left out in turn, as a user writes a question.
"""

import json
import math
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from typing import Final

from archgym.simulators.moe.machine.engines import calibration, releases
from archgym.simulators.moe.simulator import MoeSimulator

Ends = Mapping[str, Mapping[str, tuple[float, float]]]
"""Ends of ``log(measured / predicted)`` by what was left out, then by TTFT or TPOT."""

KNOWN: Final = "configuration"
"""Left out where model, GPU, engine and release were measured; `KNOWN` and an engine is its own."""
# Rows have no more clients, and no longer prompts or outputs.
_MOST_CLIENTS, _MOST_TOKENS = 1024, 10_000
_QUANTITIES: Final = {"ttft": "TTFT", "tpot": "TPOT"}


@cache
def _shipped() -> Ends:
    path = resources.files("archgym.simulators.moe").joinpath("data/intervals.json")
    found: dict[str, dict[str, tuple[float, float]]] = json.loads(path.read_text("utf-8"))
    return found


def news(simulator: MoeSimulator) -> tuple[str, ...]:
    """Return what no constants were fitted to: of model, GPU, engine, release and load."""
    known = calibration().logarithms
    labels = {label for by_label in known.values() for label in by_label}
    asked = {
        "model": f"model={simulator.model.name}",
        "GPU": f"gpu={simulator.node.gpu.name}",
        "engine": f"engine={simulator.engine_label}",
    }
    found = tuple(axis for axis, label in asked.items() if label not in labels)
    options = simulator.options
    release = str(options.get("release", ""))
    is_new = "engine" not in found and release not in releases(simulator.engine_label)
    lengths = str(options.get("lengths", "")).split("+")
    is_loaded = (
        "request_rate" in options
        or int(options.get("clients") or 0) > _MOST_CLIENTS
        or any(int(text or 0) > _MOST_TOKENS for text in lengths)
    )
    return (*found, *(("release",) if is_new else ()), *(("load",) if is_loaded else ()))


def ends_of(ends: Ends, quantity: str, new: Iterable[str], engine: str) -> tuple[float, float]:
    """Return the ends of ``log(measured / predicted)`` of a question.

    Args:
      ends: What was learned by leaving out.
      quantity: TTFT or TPOT.
      new: What `news` names; their excesses over what is known add up as squares.
      engine: Engine whose own errors count where it was measured.
    """
    every = ends[KNOWN][quantity]
    own = ends.get(f"{KNOWN} {engine}", ends[KNOWN])[quantity]
    found = []
    for place, sign in enumerate((-1.0, 1.0)):
        # An end on the wrong side of 0 is a bias: what is new does not take it away.
        further = sum(
            max(0.0, max(0.0, sign * ends[axis][quantity][place]) ** 2 - every[place] ** 2)
            for axis in new
        )
        found.append(sign * math.hypot(max(0.0, sign * own[place]), math.sqrt(further)))
    return found[0], found[1]


def interval(simulator: MoeSimulator, metric: str, value: float) -> tuple[float, float]:
    """Return the ends of the 90 % interval of a predicted time.

    Args:
      simulator: What predicted it.
      metric: Name of a metric of TTFT or TPOT.
      value: Its prediction.
    """
    quantity = _QUANTITIES[metric.partition("_")[0]]
    low, high = ends_of(_shipped(), quantity, news(simulator), simulator.engine_label)
    return value * math.exp(low), value * math.exp(high)
