"""Prior of the DRAM simulator's error, from the rows of DRAMSys 4 that ship with the evidence.

    python -m evidence.dram.errors

It writes `archgym/simulators/dram/data/error.json`, which ships.
"""

from pathlib import Path
from typing import Final

import numpy as np

from archgym.measurements.points import Points
from archgym.measurements.prior import ErrorPrior
from evidence.dram.reference import DESIGNS, validate
from evidence.errors import Fold, learned_prior, write_prior

_METRICS: Final = {
    "total_time_ns": "total_time_ns", "energy_pj": "total_energy_pj", "power_mw": "power_mw",
    "bandwidth_gbps": "bandwidth_gb_per_s",
}  # fmt: skip
_OUT: Final = Path(__file__).parents[2] / "archgym" / "simulators" / "dram" / "data" / "error.json"


def learn() -> ErrorPrior:
    """Return the prior, from the worst error of each metric."""
    lines = [line for line in validate(None, group=DESIGNS).lines if line.metric in _METRICS]
    n = len(lines)
    metrics = {_METRICS[line.metric]: _METRICS[line.metric] for line in lines}
    identity = tuple(tuple(float(i == j) for j in range(n)) for i in range(n))
    n_runs = max(line.n_rows for line in lines)
    source = f"{n_runs} runs of DRAMSys 4 or, for device families such as ddr5, of Ramulator 2.1"
    guess = ErrorPrior(
        "chosen", source, tuple(metrics), metrics, (), (0.01,) * n, identity, 6.0, {}
    )
    errors = np.log1p(np.array([[line.worst for line in lines]]))
    return learned_prior(guess, [Fold(Points({}, {}, np.zeros((1, 0))), errors, {})], ())


def main() -> None:
    """Learn from the rows and write the file."""
    write_prior(learn(), _OUT)


if __name__ == "__main__":
    main()
