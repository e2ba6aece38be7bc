"""Share of the variance of log IPC that each parameter of the CPU's default space explains.

    python experiments/cpu_parameters.py [DESIGNS] [WORKLOAD ...]
    python experiments/cpu_parameters.py one-at-a-time [INSTRUCTIONS] [WORKLOAD ...]

Random designs are evaluated on each workload, and each of them again with a new random value of one
parameter, for every parameter. A share is Sobol's total effect by Jansen's estimator: half of the
mean squared difference of a pair over the variance. It counts interactions, so that shares may sum
to more than 100 %, and a parameter that changes nothing has a share of exactly 0. Prints the shares
on each workload, then for each parameter the workload where it matters most. Without workloads,
each parameter is measured on programs that stress it.

The second form changes one parameter of the default design at a time, through all of its values. It
prints the IPC of the best over that of the worst value on the workload where they differ most.

Source:
  M. Jansen, *Analysis of variance designs for model output*, 1999; A. Saltelli et al., *Variance
  based sensitivity analysis of model output*, 2010, table 2, row f.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from archgym.simulators.cpu import CpuSimulator

_FRONT: Final = (
    "fetch_width", "decode_width", "dispatch_width", "retire_width", "ifetch_buffer",
    "dispatch_buffer", "dib_sets", "l1i_sets", "l1i_ways", "l1i_mshr", "l1i_prefetcher",
    "itlb_sets",
)  # fmt: skip
_BACK: Final = (
    "execute_width", "load_width", "store_width", "scheduler", "rob", "registers",
    "load_queue", "store_queue", "l1d_ports", "l1d_queue", "l1d_mshr", "l1d_prefetcher",
    "l2_prefetcher",
)  # fmt: skip
_SIZES: Final = (
    "l1d_sets", "l1d_ways", "l2_sets", "l2_ways", "l2_replacement",
    "llc_sets", "llc_ways", "llc_replacement", "dtlb_sets", "stlb_sets",
)  # fmt: skip
_MISSES: Final = (
    "l2_mshr", "llc_mshr", "dtlb_mshr", "stlb_mshr", "dram_data_rate",
    "dram_channels", "dram_queue", "load_queue",
)  # fmt: skip
MEASURED: Final[Mapping[str, Sequence[str]]] = {
    "circuit-simulation": _FRONT,
    "digest": _FRONT,
    "rules": ("branch_predictor",),
    "interpreter": ("l1i_ways", "itlb_sets", "retire_width", "dib_sets", *_SIZES, "l1i_sets"),
    "pointer-chase-small": _SIZES,
    "graph-search": ("load_queue", "scheduler", "branch_predictor"),
    "picture-filter": ("load_width", "store_width", "l1d_ports", "scheduler", "execute_width"),
    "stencil": _BACK,
    "decompress": _BACK,
    "matrix-product": _BACK,
    "hash-join": _MISSES,
    "sparse-matrix": _MISSES,
}
"""Parameters that are measured on each program, as it stresses them."""


def changed_designs(
    simulator: CpuSimulator, indices: np.ndarray, columns: Sequence[int], rng: np.random.Generator
) -> np.ndarray:
    """Return the designs with one other value in one parameter, (n_columns, n, n_parameters)."""
    result = np.repeat(indices[None], len(columns), axis=0)
    for k, column in enumerate(columns):
        size = simulator.space.parameters[column].size
        # Only other values are drawn; `total_effects` allows for those that would not change.
        result[k, :, column] += rng.integers(1, size, size=len(indices))
        result[k, :, column] %= size
    return result


def total_effects(
    base: np.ndarray, changed: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return the share of each parameter, and the standard deviation of the values.

    Args:
      base: (n,), log IPC of the designs.
      changed: (n_columns, n), log IPC with one parameter changed.
      sizes: (n_columns,), number of values of each parameter.
    """
    variance = np.nanvar(np.concatenate([base, changed.ravel()]))
    # Among all values, one of `sizes` would have been the same.
    squares = np.nanmean((changed - base) ** 2, axis=1) * (sizes - 1) / sizes
    return squares / (2.0 * variance), float(np.sqrt(variance))


def one_at_a_time(arguments: Sequence[str]) -> None:
    """Change each parameter of the default design alone, and print what it gains at most."""
    simulator = CpuSimulator(instructions=arguments[0] if arguments else "")
    ipc = [spec.name for spec in simulator.metrics].index("ipc")
    default = simulator.space.default_indices
    found: dict[str, list[tuple[float, str, str, str]]] = {n: [] for n in simulator.space.names}
    for workload in arguments[1:] or simulator.workload_names():
        made = simulator.workload(workload)
        base = simulator.evaluate_batch(default[None], made).values[0, ipc]
        for column, parameter in enumerate(simulator.space.parameters):
            others = [i for i in range(parameter.size) if i != default[column]]
            designs = np.tile(default, (len(others), 1))
            designs[:, column] = others
            values = simulator.evaluate_batch(designs, made).values[:, ipc]
            all_of = {int(default[column]): base, **dict(zip(others, values, strict=True))}
            worst, best = min(all_of, key=all_of.__getitem__), max(all_of, key=all_of.__getitem__)
            gain = 100.0 * (all_of[best] / all_of[worst] - 1.0)
            ends = str(parameter.value(worst)), str(parameter.value(best))
            found[parameter.name].append((gain, workload, *ends))
    for name, gains in found.items():
        gain, workload, worst_value, best_value = max(gains)
        n = sum(g >= 1.0 for g, *_ in gains)
        print(f"| {name} | {gain:.1f} % | {workload} | {worst_value} to {best_value} | {n} |")


def shares_of(
    simulator: CpuSimulator, n: int, workload: str, names: Sequence[str]
) -> tuple[dict[str, float], float]:
    """Return the share of each parameter on a workload, and the deviation of log IPC."""
    columns = [simulator.space.names.index(name) for name in names]
    sizes = np.array([simulator.space.parameters[c].size for c in columns])
    rng = np.random.default_rng(0)
    indices = simulator.space.sample(n, rng)
    changed = changed_designs(simulator, indices, columns, rng)
    designs = np.concatenate([indices[None], changed])
    ipc = [spec.name for spec in simulator.metrics].index("ipc")
    found = simulator.evaluate_batch(
        designs.reshape(-1, designs.shape[2]), simulator.workload(workload)
    )
    # Designs that cannot be built have no IPC, and their pairs do not count.
    y = np.log(found.values[:, ipc]).reshape(designs.shape[:2])
    effects, deviation = total_effects(y[0], y[1:], sizes)
    return dict(zip(names, effects.tolist(), strict=True)), deviation


def main(arguments: Sequence[str]) -> None:
    """Evaluate the designs and print both tables."""
    if arguments and arguments[0] == "one-at-a-time":
        one_at_a_time(arguments[1:])
        return
    n = int(arguments[0]) if arguments else 16
    simulator = CpuSimulator()
    every = tuple(simulator.space.names)
    measured: Mapping[str, Sequence[str]]
    measured = dict.fromkeys(arguments[1:], every) or MEASURED
    best: dict[str, tuple[float, str]] = dict.fromkeys(every, (0.0, "-"))
    for workload, names in measured.items():
        shares, deviation = shares_of(simulator, n, workload, names)
        for name, share in shares.items():
            best[name] = max(best[name], (share, workload))
        largest = sorted(shares.items(), key=lambda item: -item[1])
        listed = ", ".join(f"{name} {100 * share:.1f} %" for name, share in largest)
        print(f"| {workload} | {deviation:.2f} | {listed} |", flush=True)
    print()
    for name, (share, workload) in sorted(best.items(), key=lambda item: -item[1][0]):
        print(f"| {name} | {100 * share:.1f} % | {workload} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
