"""Designs of the default space, and networks of all kinds, in BookSim 2 itself, unedited.

    python -m evidence.noc.booksim designs|networks BOOKSIM ROWS [COUNT]

`BOOKSIM` is the program that `make` leaves in `src` of BookSim 2 (commit 28f4329); `ROWS`
is a .jsonl.gz that is written. Networks are drawn from all values of all parameters that BookSim
runs; those on which it stops with an assertion are left out.
"""

import contextlib
import gzip
import json
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from archgym.errors import ArchGymError
from archgym.evaluation.simulator import Workload
from archgym.simulators.noc import NocSimulator
from archgym.simulators.noc.export import booksim_inputs
from archgym.simulators.noc.machine import ROUTINGS, Network
from archgym.simulators.noc.sampling import Load, targets
from archgym.simulators.noc.state import ALLOCATORS, PRIORITIES
from archgym.simulators.noc.workloads import LOADS

SEED: Final = 20261202
_LINE: Final = re.compile(
    r"^\s*(Packet latency|Network latency|Hops) average = (\S+)", re.MULTILINE
)
_SWITCHES: Final = (
    "wait_for_tail_credit", "vc_busy_when_full", "vc_prioritize_empty", "vc_shuffle_requests",
    "speculative", "spec_check_cred", "spec_mask_by_reqs", "noq", "use_noc_latency",
)  # fmt: skip
_GRIDS: Final = ((2, 2), (3, 2), (4, 2), (5, 2), (8, 1), (3, 3), (2, 4))
_SIZES: Final = {
    "mesh": _GRIDS, "torus": _GRIDS, "cmesh": ((2, 2), (4, 2)), "flatfly": ((2, 2), (3, 2), (4, 2)),
    "fattree": ((2, 2), (2, 3), (3, 2), (4, 2), (3, 3)),
}  # fmt: skip


def drawn(count: int) -> Iterator[tuple[str, dict[str, str], dict[str, Any]]]:
    """Yield workloads, options and designs, drawn with a fixed seed."""
    rng = np.random.default_rng(SEED)
    space = NocSimulator().space
    for indices in space.sample(count, rng):
        workload = LOADS[int(rng.integers(len(LOADS)))]
        options = {
            "load": repr(float(rng.choice([0.02, 0.05, 0.1, 0.2]))),
            "seed": str(int(rng.integers(1000))),
        }
        yield workload, options, dict(space.design_at(indices))


def drawn_networks() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield arguments of `Network` and `Load`, drawn with a fixed seed, without end."""
    rng = np.random.default_rng(SEED)

    def one(*values: Any) -> Any:
        return values[int(rng.integers(len(values)))]

    allocators = (
        *ALLOCATORS, "islip(2)", "islip(3)", "select(2)", "select(3)",
        "separable_input_first(matrix)", "separable_output_first(matrix)",
    )  # fmt: skip
    while True:
        topology = one(*_SIZES)
        network = {
            "topology": topology, "routing_function": one(*ROUTINGS[topology]),
            "num_vcs": one(1, 2, 3, 4, 5, 6, 8, 12, 16), "vc_buf_size": one(1, 2, 3, 4, 8, 16),
            "routing_delay": one(0, 1, 2, 3), "credit_delay": one(0, 1, 2, 3, 4),
            "st_prepare_delay": one(0, 0, 1, 2), "input_speedup": one(1, 1, 2),
            "output_speedup": one(1, 1, 2), "internal_speedup": one(1.0, 1.0, 1.5, 2.0),
            "output_buffer_size": one(-1, -1, 1, 2, 4, 8),
            "spec_sw_allocator": one("prio", *allocators),
            "vc_allocator": one(*allocators), "sw_allocator": one(*allocators),
            "priority": one(*PRIORITIES), "seed": int(rng.integers(1000)),
            **{name: one(0, 1) for name in _SWITCHES},
        }  # fmt: skip
        if "max_size" in (network["sw_allocator"], network["spec_sw_allocator"]):
            # BookSim's own maximum matching errs where inputs and outputs differ in number.
            network["output_speedup"] = network["input_speedup"]
        k, n = one(*_SIZES[topology])
        network |= {"k": k, "n": n, "xr": one(1, 2, 3) if topology == "flatfly" else 1}
        load = {
            "pattern": one("uniform", "uniform", "uniform", "bitcomp", "neighbor"),
            "packet_size": one((1,), (2,), (4,), (1, 5), (2, 3, 7)),
            "injection_rate": round(float(rng.uniform(0.02, 0.5)), 4), "sample_period": 100,
        }  # fmt: skip
        yield network, load


def run(
    program: Path, simulator: NocSimulator, indices: np.ndarray, workload: Workload
) -> tuple[dict[str, float], float]:
    """Return averages of a design under a load, none if unstable, and processor time [s]."""
    network, bits = simulator.network(indices)
    return simulated(program, network, simulator.load_of(workload.content, bits))


def simulated(program: Path, network: Network, load: Load) -> tuple[dict[str, float], float]:
    """Return averages of a network under a load, none if unstable, and processor time [s].

    Raises:
      CalledProcessError: BookSim stopped.
      TimeoutExpired: It did not end.
    """
    files = booksim_inputs(network, load)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [str(program.resolve()), "booksim.cfg"],
            cwd=folder, capture_output=True, text=True, check=False, timeout=60.0,
        )  # fmt: skip
        # A stable network ends with -1.
        if done.returncode not in (0, 255):
            raise subprocess.CalledProcessError(done.returncode, done.args)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    overall = done.stdout.rpartition("Overall Traffic Statistics")[2]
    found = {name.lower().replace(" ", "_"): float(value) for name, value in _LINE.findall(overall)}
    is_over = "Overall Traffic Statistics" in done.stdout
    return (found if is_over else {}), after.ru_utime - before.ru_utime


def rows_of_designs(program: Path, count: int) -> Iterator[dict[str, Any]]:
    """Yield rows of designs of the default space."""
    for workload, options, design in drawn(count):
        simulator = NocSimulator(**options)
        traffic = simulator.workload(workload)
        indices = simulator.space.indices_of(design)
        found, _ = run(program, simulator, indices, traffic)
        yield {"workload": workload, "options": options, "design": design, "booksim": found}


def rows_of_networks(program: Path, count: int) -> Iterator[dict[str, Any]]:
    """Yield rows of networks that both run."""
    left = count
    for network, load in drawn_networks():
        with contextlib.suppress(ArchGymError, subprocess.SubprocessError):
            made, asked = Network(**network), Load(**load)
            targets(asked.pattern, made.nodes, made.node_radix, made.n)
            yield {"network": network, "load": load, "booksim": simulated(program, made, asked)[0]}
            left -= 1
        if not left:
            return


def main(what: str, program: Path, rows: Path, count: int) -> None:
    """Run designs or networks in BookSim, and write rows."""
    made = {"designs": rows_of_designs, "networks": rows_of_networks}[what]
    with gzip.open(rows, "wt", encoding="utf-8") as file:
        for row in made(program, count):
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    asked = int(sys.argv[4]) if len(sys.argv) > 4 else 300
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), asked)
