"""Recordings of single runs of the DRAM kernel: each command, and the milestones of requests."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from archgym.simulators.dram.dramsys.kernel.batch import (
    OUTPUTS,
    Tables,
    _check_trace,
    blank_requests,
    job_of,
    run_job,
    trace_table,
)
from archgym.simulators.dram.dramsys.kernel.commands import COMMAND_NAMES
from archgym.simulators.dram.dramsys.kernel.state import COMMAND_LOG


@dataclass(frozen=True)
class Recording:
    """One design's run in full.

    Attributes:
      outputs: Values by `OUTPUTS`.
      commands: (n_commands,) of `state.COMMAND_LOG`, in order of issue.
      requests: (n_requests,) of `state.REQUEST`; its milestones are `sent`, `admitted`,
        `accepted`, `issued` and `received` [ps].
    """

    outputs: dict[str, float]
    commands: npt.NDArray[Any]
    requests: npt.NDArray[Any]


def record(
    controller: npt.NDArray[np.int64],
    decoded: npt.NDArray[Any],
    addresses: npt.NDArray[np.int64],
    ticks: npt.NDArray[np.int64],
    is_write: npt.NDArray[np.bool_],
    *,
    player_clock_ps: int,
    is_relative: bool,
    device: Tables,
    waits: npt.NDArray[np.int64] | None = None,
    max_commands: int = 1_000_000,
) -> Recording:
    """Simulate one trace under one design, and record every command and milestone.

    Args:
      controller: (12,), by `CONTROLLER_COLUMNS`.
      decoded: (n_requests,) of `mapping.DECODED`.
      max_commands: Commands beyond are not kept.

    Returns:
      The recording; the other arguments are those of `simulate`.
    """
    n_requests = _check_trace(decoded[np.newaxis], addresses, ticks, is_write)
    requests = blank_requests(n_requests)
    log = np.zeros(max_commands, dtype=COMMAND_LOG)
    job = job_of(
        np.asarray(controller, dtype=np.int64)[np.newaxis],
        np.zeros(1, dtype=np.int64),
        decoded[np.newaxis],
        trace_table(addresses, ticks, is_write, waits),
        (player_clock_ps, is_relative),
        device,
        requests,
        np.zeros(0, dtype=np.int64),
        log,
    )
    run_job(job)
    return Recording(
        outputs=dict(zip(OUTPUTS, job.out[0].tolist(), strict=True)),
        commands=log[: min(int(job.state[0]["n_logged"]), max_commands)],
        requests=requests,
    )


def command_counts(commands: npt.NDArray[Any]) -> dict[str, int]:
    """Return the number of each command in a recording."""
    counts = np.bincount(commands["command"], minlength=len(COMMAND_NAMES))
    return {name: int(n) for name, n in zip(COMMAND_NAMES, counts, strict=True) if name and n}
