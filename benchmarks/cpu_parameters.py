"""Share of the variance of log IPC that each parameter of the CPU's default space explains.

    python benchmarks/cpu_parameters.py [DESIGNS] [WORKLOAD ...]
    python benchmarks/cpu_parameters.py one-at-a-time [INSTRUCTIONS] [WORKLOAD ...]

Random designs are evaluated on each workload. A parameter's share is its main effect's omega
squared: the variance between the means of its levels, less what chance alone gives. Prints the
largest shares of each workload, then for each parameter the workload where it matters most.

The second form changes one parameter of the default design at a time, through all of its values. It
prints the IPC of the best over that of the worst value on the workload where they differ most. Such
effects are exact, where the shares of so few designs are noisy below some 4 %.
"""

import sys
from collections.abc import Sequence

import numpy as np

from archgym.simulators.cpu import CpuSimulator


def omega_squared(levels: np.ndarray, y: np.ndarray) -> float:
    """Return the share of variance between groups, corrected for chance."""
    values, which = np.unique(levels, return_inverse=True)
    counts = np.bincount(which)
    means = np.bincount(which, weights=y) / counts
    total = ((y - y.mean()) ** 2).sum()
    between = (counts * (means - y.mean()) ** 2).sum()
    within = (total - between) / max(1, len(y) - len(values))
    return max(0.0, float((between - (len(values) - 1) * within) / (total + within)))


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


def main(arguments: Sequence[str]) -> None:
    """Evaluate the designs and print both tables."""
    if arguments and arguments[0] == "one-at-a-time":
        one_at_a_time(arguments[1:])
        return
    n = int(arguments[0]) if arguments else 192
    simulator = CpuSimulator()
    names = simulator.space.names
    indices = simulator.space.sample(n, np.random.default_rng(0))
    ipc = [spec.name for spec in simulator.metrics].index("ipc")
    best: dict[str, tuple[float, str]] = dict.fromkeys(names, (0.0, "-"))
    for workload in arguments[1:] or simulator.workload_names():
        found = simulator.evaluate_batch(indices, simulator.workload(workload))
        built = found.reason == 0
        y = np.log(found.values[built, ipc])
        shares = {name: omega_squared(indices[built, i], y) for i, name in enumerate(names)}
        for name, share in shares.items():
            best[name] = max(best[name], (share, workload))
        top = sorted(shares.items(), key=lambda item: -item[1])[:8]
        listed = ", ".join(f"{name} {100 * share:.0f} %" for name, share in top)
        print(f"| {workload} | {y.std():.2f} | {listed} |", flush=True)
    print()
    for name, (share, workload) in best.items():
        print(f"| {name} | {100 * share:.1f} % | {workload} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
