"""90 % intervals of predicted times: wider, the less of a question was measured.

Their ends follow from the 90th percentiles of errors where configurations, GPUs and models were
left out in turn, with no more than what a user writes. A new engine has the widest of these and a
new release that of a configuration, until `python -m evidence.moe.bars FOLDER --write` learns them.
"""

import json
import math
from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import Final

from archgym.simulators.moe.machine.engines import calibration, releases
from archgym.simulators.moe.simulator import MoeSimulator

_QUANTITIES: Final = {"ttft": "TTFT", "tpot": "TPOT"}


@cache
def _ends() -> dict[str, dict[str, tuple[float, float]]]:
    path = resources.files("archgym.simulators.moe").joinpath("data/intervals.json")
    found: dict[str, dict[str, tuple[float, float]]] = json.loads(path.read_text("utf-8"))
    return found


def news(simulator: MoeSimulator) -> tuple[str, ...]:
    """Return what no constants were fitted to: of model, GPU, engine and release."""
    known = calibration().logarithms
    labels = {label for by_label in known.values() for label in by_label}
    asked = {
        "model": f"model={simulator.model.name}",
        "GPU": f"gpu={simulator.node.gpu.name}",
        "engine": f"engine={simulator.engine_label}",
    }
    found = tuple(axis for axis, label in asked.items() if label not in labels)
    release = str(simulator.options.get("release", ""))
    is_new = "engine" not in found and release not in releases(simulator.engine_label)
    return (*found, *(("release",) if is_new else ()))


def interval(metric: str, value: float, new: Iterable[str]) -> tuple[float, float]:
    """Return the ends of the 90 % interval of a predicted time.

    Args:
      metric: Name of a metric of TTFT or TPOT.
      value: Its prediction.
      new: What `news` names; their excesses over a known deployment add up as squares.
    """
    quantity = _QUANTITIES[metric.partition("_")[0]]
    known = _ends()["configuration"][quantity]
    ends = []
    for place in (0, 1):
        base = known[place]
        further = sum(max(0.0, _ends()[axis][quantity][place] ** 2 - base**2) for axis in new)
        ends.append(value * math.exp(math.copysign(math.sqrt(base**2 + further), base)))
    return ends[0], ends[1]
