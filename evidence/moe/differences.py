"""Differences of the fidelities `full` and `steps` on measured configurations.

    python -m evidence.moe.differences FOLDER [ROWS]

Both serve the same requests, two of each client, of rows that are spread evenly over the file, and
of some of them with drafts, few blocks of keys and values, held prompts and polls. Workers for
prompts and others for decoding exist at the level of steps alone.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from evidence.moe.measured import Measured, read_serving

METRICS: Final = ("TPOT", "output/s", "TTFT")
"""Metrics that are compared."""
_ROWS: Final = 40  # chosen: some minutes
_FURTHER: Final[Mapping[str, Mapping[str, str]]] = {
    "drafts": {"draft_tokens": "3", "acceptance": "0.7"},
    "few blocks": {"memory_percent": "60"},
    "held prompts": {"hold_steps": "20", "hold_prompts": "2"},
    "polls": {"poll_steps": "10"},
}


class Difference(NamedTuple):
    """Difference of `steps` from `full` over rows [%]."""

    group: str
    metric: str
    n_rows: int
    median: float
    p99: float


def differences(rows: list[Measured], group: str, **options: str) -> list[Difference]:
    """Return the differences of both fidelities over rows.

    Args:
      rows: Measured rows.
      group: Name of the group.
      options: Further options of the simulator.
    """
    found = []
    for row in rows:
        changes = {**options, "requests": str(2 * row.clients)}
        full, steps = (row.predict(fidelity, **changes) for fidelity in ("full", "steps"))
        if full is None or steps is None:
            continue
        pairs = (
            (full.tpot_ms, steps.tpot_ms), (full.output_per_s, steps.output_per_s),
            (full.ttft_ms, steps.ttft_ms),
        )  # fmt: skip
        found.append([100.0 * abs(quick / exact - 1.0) for exact, quick in pairs])
    columns = np.array(found).reshape(-1, len(METRICS)).T
    return [
        Difference(
            group, name, columns.shape[1], float(np.median(values)),
            float(np.quantile(values, 0.99)),
        )
        for name, values in zip(METRICS, columns, strict=True)
        if len(values)
    ]  # fmt: skip


def main() -> None:
    """Print the table."""
    folder = Path(sys.argv[1])
    rows, _ = read_serving(folder / "moe" if (folder / "moe").is_dir() else folder)
    n = int(sys.argv[2]) if len(sys.argv) > 2 else _ROWS
    chosen = [rows[at] for at in np.linspace(0, len(rows) - 1, n).astype(int)]
    groups: dict[str, tuple[list[Any], dict[str, Any]]] = {"measured rows": (chosen, {})} | {
        name: (chosen[:: max(1, n // 4)], dict(options)) for name, options in _FURTHER.items()
    }
    for name, (some, options) in groups.items():
        for found in differences(some, name, **options):
            sys.stdout.write(
                f"{found.group}, {found.metric}, {found.n_rows} rows: median {found.median:.2f} %, "
                f"p99 {found.p99:.2f} %\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
