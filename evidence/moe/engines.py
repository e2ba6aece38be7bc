"""Fit the constants of serving engines to the measured rows of a reference folder.

    python -m evidence.moe.engines REFERENCE

It writes `archgym/simulators/moe/data/engines.json`, which ships.
"""

import json
import sys
from pathlib import Path

import numpy as np

from archgym.simulators.moe.machine.engines import PRIORS
from evidence.moe.bars import read_more
from evidence.moe.fitting import fit, problem
from evidence.moe.measured import read_serving

_OUT = Path(__file__).parents[2] / "archgym" / "simulators" / "moe" / "data" / "engines.json"
# Factors nearer to 1 than this are left out.
_LEAST = 0.005


def main() -> None:
    """Fit all rows and write the file."""
    folder = Path(sys.argv[1])
    folder = folder / "moe" if (folder / "moe").is_dir() else folder
    rows, n_suspect = read_serving(folder)
    fitted_on = (
        f"{len(rows)} rows of measured/serving.csv (InferenceX and NVIDIA's AIConfigurator), all "
        f"but the {n_suspect} that are marked as suspect"
    )
    more = read_more(folder, sealed=False)
    if more:
        fitted_on += f"; {len(more)} of further/serving_more.csv (SGLang's cookbook)"
    rows += more
    found = fit(problem(rows), np.arange(len(rows)), fitted_on)
    kept = {
        constant: {
            label: round(value, 3)
            for label, value in by_label.items()
            if abs(value) >= _LEAST or label in PRIORS[constant].means
        }
        for constant, by_label in found.logarithms.items()
    }
    document = {
        "format": 1,
        "fitted_on": found.fitted_on,
        "deployments": list(found.deployments),
        "logarithms": kept,
    }
    _OUT.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
