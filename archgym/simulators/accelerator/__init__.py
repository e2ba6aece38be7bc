"""DNN accelerators: Timeloop's counts, a mapper, and spaces of hardware and of mappings."""

from archgym.simulators.accelerator.architecture import Architecture, Level, MacArray
from archgym.simulators.accelerator.evaluation import Evaluation, evaluate_mapping
from archgym.simulators.accelerator.files import load_architecture
from archgym.simulators.accelerator.mapping import LevelLoops, Mapping
from archgym.simulators.accelerator.networks import Network, load_network
from archgym.simulators.accelerator.problem import Problem, convolution, matrix_multiply
from archgym.simulators.accelerator.simulator import AcceleratorSimulator

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
