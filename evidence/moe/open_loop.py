"""Measured serving of requests over time: two runs of vLLM 0.19, request by request.

    python -m evidence.moe.open_loop FOLDER

The folder has a run in each of its folders: `requests.jsonl` with times of each request and
`meta.json` with the engine's arguments. Nothing was fitted to them. Prefix caches are left out: 8 %
of the prompts' blocks were hits.
"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from archgym.tasks.task import Task
from evidence.moe.measured import simulator_of

_DEPLOYMENTS: Final = {
    # By the model's name: model and server that ship, and the design.
    "meta-llama/Llama-3.1-8B": ("llama-3.1-8b", "rtx-4090", {}),
    "Qwen/Qwen3-30B-A3B-Instruct-2507": (
        "qwen3-30b-a3b", "2x-rtx-pro-6000", {"tensor": 1, "data": 2, "spread": "yes"},
    ),
}  # fmt: skip


class Compared(NamedTuple):
    """Measured and predicted times of a run, means and medians over requests."""

    run: str
    metric: str
    measured: float
    predicted: float
    request_error: float

    @property
    def error(self) -> float:
        """Error of the mean [%]."""
        return 100.0 * abs(self.predicted / self.measured - 1.0)


def compare(folder: Path, fidelity: str = "auto") -> list[Compared]:
    """Return measured and predicted TTFT, TPOT and latency of a run.

    Args:
      folder: Folder of the run.
      fidelity: Fidelity of the simulator.
    """
    meta = json.loads((folder / "meta.json").read_text("utf-8"))
    lines = (folder / "requests.jsonl").read_text("utf-8").splitlines()
    rows = sorted((json.loads(line) for line in lines), key=lambda row: float(row["queued_ts"]))
    model, hardware, design = _DEPLOYMENTS[meta["model"]]
    given = meta["engine_kwargs"]
    # The driver leaves an engine less memory than the card has.
    visible = meta.get("hardware", {}).get("device_total_memory_bytes", 0.0)
    with TemporaryDirectory() as scratch:
        trace = Path(scratch) / "requests.csv"
        _write_trace(trace, rows)
        options = {
            "model": model, "hardware": hardware, "engine": "vllm", "release": "vllm 0.19",
            "precision": "bf16", "clients": "0",
            "step_tokens": str(given["max_num_batched_tokens"]),
            "max_sequences": str(given["max_num_seqs"]),
        }  # fmt: skip
        simulator = simulator_of(options, fidelity)
        if visible:
            share = 90.0 * visible / simulator.node.gpu.memory_bytes
            simulator = simulator_of({**options, "memory_percent": f"{share:.4g}"}, fidelity)
        task = Task.make(simulator, str(trace))
        workload = task.workloads[0].workload
        default = simulator.space.design_at(simulator.space.default_indices)
        run = simulator.run({**default, **design}, workload)
        metrics = simulator.evaluate({**default, **design}, workload)
    further = np.array([row["output_toks"] - 1.0 for row in rows])
    first = np.array([row["first_token_ts"] - row["queued_ts"] for row in rows]) * 1e3
    last = np.array([row["last_token_ts"] - row["queued_ts"] for row in rows]) * 1e3
    ours_first, ours_last = run.ttft_ns / 1e6, run.e2e_ns / 1e6
    pairs: dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], str]] = {
        "TTFT": (first, ours_first, "ttft_mean_ms"),
        "TPOT": (
            ((last - first) / further)[further > 0],
            ((ours_last - ours_first) / further)[further > 0], "tpot_mean_ms",
        ),
        "latency": (last, ours_last, "e2e_mean_ms"),
    }  # fmt: skip
    return [
        Compared(
            folder.name, name, float(measured.mean()), float(metrics[column]),
            100.0 * float(np.median(np.abs(ours / measured - 1.0))),
        )
        for name, (measured, ours, column) in pairs.items()
    ]  # fmt: skip


def _write_trace(path: Path, rows: list[dict[str, Any]]) -> None:
    start = float(rows[0]["queued_ts"])
    lines = ["arrival_s,prompt_tokens,output_tokens"]
    lines += [
        f"{float(row['queued_ts']) - start:.6f},{row['input_toks']},{row['output_toks']}"
        for row in rows
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Print the comparison of each run of a folder."""
    found_in = sorted(path.parent for path in Path(sys.argv[1]).glob("*/requests.jsonl"))
    if not found_in:
        sys.exit(f"{sys.argv[1]} has no folder with a requests.jsonl; name the folder of the runs.")
    for folder in found_in:
        for found in compare(folder):
            sys.stdout.write(
                f"{found.run}, mean {found.metric}: measured {found.measured:,.1f} ms, predicted "
                f"{found.predicted:,.1f} ms, error {found.error:.1f} %; median over requests "
                f"{found.request_error:.1f} %\n"
            )


if __name__ == "__main__":
    main()
