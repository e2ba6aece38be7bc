"""Runs of the controller under a rule that a user wrote; in the rules' process."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from archgym.rules.compilation import EntryPoints, Storage
from archgym.simulators.dram.formats.devices import load_device
from archgym.simulators.dram.kernel.batch import OUTPUTS, STATUSES, Tables, simulate
from archgym.simulators.dram.kernel.commands import CONTROLLER_COLUMNS, USER_SCHEDULER
from archgym.simulators.dram.rules.case import open_case

_SCHEDULER = CONTROLLER_COLUMNS.index("scheduler")


def simulate_rule(points: EntryPoints, storage: Storage, case: Mapping[str, Any]) -> dict[str, Any]:
    """Return outputs of the kernel by name for a rule on a case.

    Args:
      points: Its compiled functions.
      storage: Its arrays.
      case: Arguments of the kernel, of `DramCase.input`.
    """
    controllers = np.array(case["controllers"])
    if points.addresses["score"]:
        controllers[:, _SCHEDULER] = USER_SCHEDULER
    given = case["device"]
    blank = given.blank.copy()
    state = blank[0]
    for name, address in points.addresses.items():
        state[f"policy_{name}"] = address
    state["policy_memory"] = storage.memory.ctypes.data
    state["policy_floats"] = storage.floats.ctypes.data
    started = time.perf_counter()
    found = _run(case, controllers, replace(given, blank=blank))
    took_s = time.perf_counter() - started
    if found["status"]:
        return {"problem": f"the controller never ends ({STATUSES[int(found['status'])]})"}
    # Energies are missing for some devices.
    outputs = {name: value for name, value in found.items() if np.isfinite(value)}
    return {**outputs, "seconds": took_s}


def _run(case: Mapping[str, Any], controllers: Any, device: Tables) -> dict[str, float]:
    arguments = {k: v for k, v in case.items() if k not in ("sizes", "values")}
    memory = load_device(case["memory"])
    arguments |= {"controllers": controllers, "device": device, "memory": memory}
    outputs = simulate(**arguments, is_exact=True)
    return dict(zip(OUTPUTS, outputs[0].tolist(), strict=True))


def prepare() -> None:
    """Load or compile the kernel."""
    case = open_case("random", {}).input()
    few = {name: case[name][:8] for name in ("addresses", "ticks", "is_write")}
    few |= {"decoded": case["decoded"][:, :8].copy(), "first_burst": None}
    _run({**case, **few}, case["controllers"], case["device"])
