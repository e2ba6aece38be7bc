"""Compiles the kernels of all simulators, which else each process that tests would compile.

Run as `python -m tests.compile_kernels`, in an environment that has the dependencies.
"""

from archgym.evaluation.simulator import simulator_class, simulator_names
from archgym.tasks.task import Task
from tests.conformance.small import declared


def main() -> None:
    """Makes a task of each simulator in each fidelity: it simulates the default design."""
    further = declared("KERNELS")
    for name in simulator_names():
        kind = simulator_class(name)
        for fidelity in kind.spec.fidelity_names:
            Task.make(name, fidelity=fidelity)
            for choices in further.get(name, []):
                Task.make(name, fidelity=fidelity, **choices)


if __name__ == "__main__":
    main()
