"""DNN accelerators: Timeloop's counts, a mapper, and spaces of hardware and of mappings."""

from archgym.simulators.accelerator.formats.files import load_architecture
from archgym.simulators.accelerator.kernel.evaluation import Evaluation, evaluate_mapping
from archgym.simulators.accelerator.machine.architecture import Architecture, Level, MacArray
from archgym.simulators.accelerator.machine.mapping import LevelLoops, Mapping
from archgym.simulators.accelerator.problem import Problem, convolution, matrix_multiply
from archgym.simulators.accelerator.simulator import AcceleratorSimulator
from archgym.simulators.accelerator.workloads import Network, load_network

__all__ = [
    "AcceleratorSimulator",
    "Architecture",
    "Evaluation",
    "Level",
    "LevelLoops",
    "MacArray",
    "Mapping",
    "Network",
    "Problem",
    "convolution",
    "evaluate_mapping",
    "load_architecture",
    "load_network",
    "matrix_multiply",
]
