"""Systolic arrays as inputs of SCALE-Sim 3.0.0 (pypi.org/project/scalesim)."""

from collections.abc import Mapping, Sequence
from configparser import RawConfigParser
from typing import Final

from archgym.simulators.accelerator.kernel.systolic import products, systolic_run
from archgym.simulators.accelerator.problem import INPUTS, Problem
from archgym.simulators.accelerator.workloads import Network
from archgym.simulators.kit.exports import Number, Tool, folder

SCALE_SIM: Final = "scalesim"
SCALE_SIM_DOC: Final = "SCALE-Sim 3: configuration, topology and layout."
TOOL: Final = Tool(
    name="SCALE-Sim",
    release="3.0.0",
    get="python3 -m venv scalesim && scalesim/bin/pip install scalesim==3.0.0 'numpy<2' 'pandas<3'"
    ", whose place is the folder scalesim.",
    program="python3",
    inside="bin/python3",
    module="scalesim",
)
_DATAFLOWS: Final = {
    "weight-stationary": "ws", "output-stationary": "os", "input-stationary": "is"
}  # fmt: skip
# Memories have no effect: SCALE-Sim computes the bandwidth at which they never stall (`CALC`).
# Sizes, buffers and offsets are those of its `configs/scale.cfg`.
_CONFIG: Final = """\
[general]
run_name = output
[architecture_presets]
ArrayHeight = {height}
ArrayWidth = {width}
IfmapSramSzkB = 256
FilterSramSzkB = 256
OfmapSramSzkB = 256
IfmapOffset = 0
FilterOffset = 10000000
OfmapOffset = 20000000
Dataflow = {dataflow}
ReadRequestBuffer = 64
WriteRequestBuffer = 64
Bandwidth = 10
[layout]
IfmapCustomLayout = False
FilterCustomLayout = False
IfmapSRAMBankBandwidth = 10
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterSRAMBankBandwidth = 10
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = false
[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
"""
# `python -m scalesim.scale` does the same, and writes traces of gigabytes whatever `-s` says.
_RUN: Final = """\
from scalesim.scale_sim import scalesim

files = {"config": "scale.cfg", "topology": "topology.csv", "layout": "layout.csv"}
scalesim(save_disk_space=True, verbose=False, **files).run_scale(top_path=".")
"""
_COLUMNS: Final = (
    "Layer name", "IFMAP Height", "IFMAP Width", "Filter Height", "Filter Width", "Channels",
    "Num Filter", "Strides",
)  # fmt: skip
_REPORT: Final = "output/COMPUTE_REPORT.csv"


def _config(design: Mapping[str, object]) -> str:
    values = {name: design[f"array_{name}"] for name in ("height", "width")}
    return _CONFIG.format(**values, dataflow=_DATAFLOWS[str(design["dataflow"])])


def scale_sim_settings(design: Mapping[str, object]) -> dict[str, dict[str, str]]:
    """Return what SCALE-Sim's configuration says of an array, by section."""
    parser = RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(_config(design))
    return {name: dict(parser[name]) for name in parser.sections()}


def scale_sim_files(
    design: Mapping[str, object], network: Network, metrics: Mapping[str, float]
) -> dict[str, str | bytes]:
    """Return a systolic array and a network for SCALE-Sim.

    Args:
      design: Values by parameter of the space `systolic`.
      network: The network.
      metrics: Metrics of the design on it.
    """
    height, width = int(str(design["array_height"])), int(str(design["array_width"]))
    array = (height, width, str(design["dataflow"]))
    # SCALE-Sim takes "DP" in a name for a depthwise layer, and a comma for its end.
    names = [f"layer{number}" for number in range(1, 1 + len(network.layers))]
    rows = [[name, *_row(layer.problem)] for name, layer in zip(names, network.layers, strict=True)]
    # All of a line are parts of one word, which is what the layout is without one of its own.
    parts = [[name, *20 * [1]] for name in names]
    files = {
        "scale.cfg": _config(design),
        "topology.csv": _table([_COLUMNS, *rows]),
        "layout.csv": _table([["Layer name", "Parts"], *parts]),
        "run.py": _RUN,
    }  # fmt: skip
    runs = [layer.count * products(layer.problem)[0] for layer in network.layers]
    spent = [layer.count * systolic_run(layer.problem, *array).cycles for layer in network.layers]
    numbers = [
        Number(
            metric="latency_cycles", value=metrics["latency_cycles"], unit="cycles", file=_REPORT,
            column="Total Cycles", weights=tuple(map(float, runs)),
        ),
        Number(
            metric="utilisation_percent", value=metrics["utilisation_percent"], unit="%",
            file=_REPORT, column="Overall Util %", tolerance=1e-9,
            weights=tuple(cycles / sum(spent) for cycles in spent),
        ),
    ]  # fmt: skip
    named = (f"{name} is {layer.name}" for name, layer in zip(names, network.layers, strict=True))
    return folder(
        TOOL, files, '"$tool" -W ignore run.py', numbers,
        differences=[
            f"Layers have numbers: {', '.join(named)}.",
            "SCALE-Sim has no groups, and no layers that occur again. The topology has one of "
            "each; `weights` in expected.json has their numbers, or their shares of the time.",
            "Layers with several images, dilation or unequal strides are written as the product "
            "of matrices that they are.",
        ],
    )  # fmt: skip


def _row(problem: Problem) -> list[int]:
    """Return one group of a layer as a line of a topology, without its name."""
    _, rows, inner, columns = products(problem)
    size = {name: problem.bounds.get(name, 1) for name in "CRSNPQ"}
    # Axes of the inputs: kernel and output with dilation and stride, along width and height.
    steps = dict(pair for axis in problem.projections[INPUTS] for pair in axis)
    stride = steps.get("P", 1)
    is_plain = size["N"] == 1 and steps.get("Q", stride) == stride
    if not is_plain or max(steps.get("R", 1), steps.get("S", 1)) > 1:
        return [rows, inner, 1, inner, 1, columns, 1]
    height, width = (size[q] * stride - stride + size[s] for q, s in ("QS", "PR"))
    return [height, width, size["S"], size["R"], size["C"], columns, stride]


def _table(rows: Sequence[Sequence[object]]) -> str:
    """Return lines whose last entry has a comma too, without which SCALE-Sim drops it."""
    return "".join("".join(f"{value}," for value in row) + "\n" for row in rows)
