"""Compiles the kernels of all simulators, which else each process that tests would compile.

Run as `python tests/compile_kernels.py`, in an environment that has the dependencies.
"""

from archgym.evaluation.simulator import simulator_class, simulator_names
from archgym.tasks.task import Task


def main() -> None:
    """Makes a task of each simulator in each fidelity: it simulates the default design."""
    for name in simulator_names():
        kind = simulator_class(name)
        for fidelity in kind.spec.fidelity_names:
            Task.make(name, fidelity=fidelity)


if __name__ == "__main__":
    main()
