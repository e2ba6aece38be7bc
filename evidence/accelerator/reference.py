"""Comparison of the model with recorded results of Timeloop, ArchGym, SCALE-Sim and MAESTRO."""

import csv
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, Final, final

import numpy as np

from archgym.errors import FileFormatError
from archgym.files.recorded import json_lines
from archgym.simulators.accelerator.kernel.architecture import Architecture
from archgym.simulators.accelerator.kernel.evaluation import Evaluation, evaluate_mapping
from archgym.simulators.accelerator.kernel.problem import Problem, convolution
from archgym.simulators.accelerator.kernel.systolic import DATAFLOWS, systolic_run
from archgym.simulators.accelerator.mapping.mapper import anneal_mapping, map_space
from archgym.simulators.accelerator.space import FIXED_ORDERS, published_hardware
from archgym.simulators.accelerator.workloads import load_network
from evidence.accelerator.recorded import (
    Recorded,
    mapping_from_text,
    recorded_architectures,
    recorded_layers,
    recorded_mappings,
)

# Mappings that the mapper evaluates for each recorded best. chosen: about 0.2 s per layer; the
# specification allows one second.
_TRIES: Final = 100_000
_ENERGY_TOLERANCE: Final = 1e-6
# Timeloop prints utilisation with four digits.
_UTILISATION_STEP: Final = 1e-4
_SCALE_SIM: Final = dict(zip(("ws", "os", "is"), DATAFLOWS, strict=True))
_NAMES: Final = {
    **{"IFMAP": "ifmap", "PSUM": "psum", "WEIGHTS": "weights", "DUMMY": "dummy", "GLB": "glb"},
    **{"rbw": "read_bandwidth", "wbw": "write_bandwidth"},
}
_WHAT_TIMELOOP: Final = "verdict, accesses, tiles, cycles, utilisation; worst error of energy [%]"


# Groups of ArchGym's recorded designs, and the comparison.
_ARCHGYM: Final = {
    "given mappings": "cycles, energy as printed, area; worst error of energy [%]",
    "no mapping exists": "our mapper finds none either: S or R does not fit, see the README",
    "search gave up": "Timeloop's search ended after 150 invalid mappings in a row; ours finds one",
    "CACTI refuses": "our table lacks the buffer too",
}


@final
@dataclass(frozen=True)
class Agreement:
    """Agreement with one group of recorded rows.

    Attributes:
      results: Tool and file.
      architecture, layer: Names that the rows share.
      n_rows: Number of rows.
      n_met: Number of rows that are met.
      figure: A further number.
      meaning: The comparison and the meaning of the figure.
      is_required: True if a row that is not met is a problem.
    """

    results: str
    architecture: str
    layer: str
    n_rows: int
    n_met: int
    figure: float
    meaning: str
    is_required: bool = True


@final
@dataclass(frozen=True)
class Validation:
    """Table of agreements, and the problems among the required ones."""

    lines: tuple[Agreement, ...]
    problems: tuple[str, ...]

    columns: ClassVar[tuple[str, ...]] = (
        "results", "architecture", "layer", "rows", "met", "figure", "meaning",
    )  # fmt: skip

    @property
    def rows(self) -> tuple[tuple[str | int | float, ...], ...]:
        """Cells of the table by `columns`."""
        return tuple(
            (a.results, a.architecture, a.layer, a.n_rows, a.n_met, a.figure, a.meaning)
            for a in self.lines
        )


def validate(
    reference: Path | None = None, progress: Callable[[str], None] | None = None
) -> Validation:
    """Compare the model with recorded results.

    Args:
      reference: Folder with the recorded results, or one that contains it as `accelerator`; None
        for only the golden rows.
      progress: Callback that receives the next step's name.
    """
    report = progress if progress is not None else lambda _: None
    report("golden rows")
    lines = _golden()
    if reference is not None:
        folder = reference / "accelerator"
        folder = folder if folder.is_dir() else reference
        for what, compare in (
            ("timeloop_mappings.jsonl", _timeloop),
            ("timeloop_link_cases.jsonl", _timeloop),
            ("timeloop_mapper_best.jsonl", _mapper),
            ("archgym_timeloop_random.jsonl", _archgym),
            ("scalesim_runs.jsonl", _scale_sim),
            ("scalesim_closed_form.csv", _closed_form),
            ("maestro_random_mappings.jsonl", _maestro),
        ):
            if (folder / what).exists():
                report(what)
                lines += compare(folder / what)
    problems = [
        f"{a.results}: all {a.n_rows} rows of {a.architecture}, {a.layer} must be met; "
        f"got {a.n_met}."
        for a in lines
        if a.is_required and a.n_met < a.n_rows
    ]
    return Validation(tuple(lines), tuple(problems))


def disagreements(found: Evaluation, recorded: Recorded) -> list[str]:
    """Return the differences between the model and Timeloop on a mapping, in words."""
    if (found.infeasible is None) != recorded.is_valid:
        return [f"verdict: {found.infeasible}"]
    if not recorded.is_valid or found.accesses is None:
        return []
    expected = recorded.statistics
    wrong = []
    for what, ours, wanted, tolerance in (
        ("cycles", found.cycles, expected["Cycles"], 0.0),
        ("energy", found.energy_pj, expected["energy_pJ"], _ENERGY_TOLERANCE),
    ):
        if abs(ours - wanted) > tolerance * wanted:
            wrong.append(f"{what}: {ours} instead of {wanted}")
    if abs(found.utilisation - expected["Utilization"]) > _UTILISATION_STEP / 2 + 1e-9:
        wrong.append(f"utilisation: {found.utilisation} instead of {expected['Utilization']}")
    n_recorded = 0
    for level, statistics in expected["levels"].items():
        for tensor, counts in statistics["ds"].items():
            n_recorded += 1
            access = found.accesses.get((level, tensor))
            for name in ("reads", "fills", "updates", "tile", "inst"):
                field = "instances" if name == "inst" else name
                count = getattr(access, field, None)
                if count != counts[name]:
                    wrong.append(f"{level} {tensor} {name}: {count} instead of {counts[name]}")
    if n_recorded != len(found.accesses):
        wrong.append(f"{len(found.accesses)} levels and tensors instead of {n_recorded}")
    return wrong


def _timeloop(path: Path) -> list[Agreement]:
    meta = path.with_name(f"{path.stem}_meta.json")
    architectures, layers = recorded_architectures(meta), recorded_layers(meta)
    met: dict[tuple[str, str], list[bool]] = {}
    errors: dict[tuple[str, str], float] = {}
    for row in recorded_mappings(path):
        key = row.architecture, row.layer
        architecture, layer = architectures[row.architecture], layers[row.layer]
        found = evaluate_mapping(layer, architecture, row.mapping)
        met.setdefault(key, []).append(not disagreements(found, row))
        if row.is_valid and found.infeasible is None:
            error = abs(found.energy_pj / row.statistics["energy_pJ"] - 1)
            errors[key] = max(errors.get(key, 0.0), error)
    return [
        Agreement(path.stem, *key, len(rows), sum(rows), 100 * errors.get(key, 0.0), _WHAT_TIMELOOP)
        for key, rows in met.items()
    ]


def _mapper(path: Path) -> list[Agreement]:
    """Return a line per recorded search, and one for all of them."""
    meta = path.with_name("timeloop_mappings_meta.json")
    architectures, layers = recorded_architectures(meta), recorded_layers(meta)
    lines, ratios, seconds = [], [], []
    for _, row in json_lines(path):
        space = map_space(layers[row["layer"]], architectures[row["arch"]])
        began = time.process_time()
        found = anneal_mapping(space, "edp", tries=_TRIES)
        seconds.append(time.process_time() - began)
        over = found.edp / found.bound.edp
        if row["found"]:
            ratio = row["edp_uJ_cycles"] * 1e6 / found.edp
            ratios.append(ratio)
            meaning = f"Timeloop's EDP / ours; ours is {over:.3f} x the lower bound"
        else:
            ratio = math.inf if found.mapping is not None else 0.0
            meaning = f"Timeloop found none; ours is {over:.3f} x the lower bound"
        lines.append(
            Agreement(path.stem, row["arch"], row["layer"], 1, int(ratio >= 1), ratio, meaning)
        )
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    meaning = f"geometric mean of {len(ratios)}; {max(seconds):.2f} s of processor a layer at most"
    lines.append(Agreement(path.stem, "all", "all", 1, int(mean >= 10), mean, meaning))
    return lines


def _archgym(path: Path) -> list[Agreement]:
    """Compare recorded mappings, designs without a mapping, and designs that CACTI rejects."""
    layers = {
        f"AlexNet_layer{number}": layer.problem
        for number, layer in enumerate(load_network("alexnet-convolutions").layers, 1)
    }
    met: dict[str, list[bool]] = {name: [] for name in _ARCHGYM}
    worst = 0.0
    for number, row in json_lines(path):
        architecture = published_hardware(_published_values(row["params"]))
        if not row["layers"]:
            met["CACTI refuses"].append(architecture is None)
            continue
        if architecture is None:
            met["given mappings"].append(False)
            continue
        for name, given in row["layers"].items():
            problem = layers[name]
            if "map" not in given:
                space = map_space(problem, architecture, fixed_orders=FIXED_ORDERS)
                is_found = anneal_mapping(space, tries=_TRIES // 5).mapping is not None
                if _has_no_mapping(problem, architecture):
                    met["no mapping exists"].append(not is_found)
                else:
                    met["search gave up"].append(is_found)
                continue
            try:
                mapping = mapping_from_text(given["map"], architecture)
            except ValueError as error:
                raise FileFormatError(path, number, str(error)) from None
            found = evaluate_mapping(problem, architecture, mapping)
            energy = abs(found.energy_pj / 1e6 - given["energy_uJ"])
            worst = max(worst, energy / given["energy_uJ"])
            is_met = found.cycles == given["cycles"] and energy <= 0.0051 + 1e-6 * found.energy_pj
            met["given mappings"].append(is_met)
        if row["valid"]:
            met["given mappings"][-1] &= abs(architecture.area_um2 / 1e6 / row["obs"][1] - 1) < 1e-5
    return [
        Agreement(
            path.stem,
            "timeloop-2023",
            what,
            len(rows),
            sum(rows),
            100 * worst if what == "given mappings" else 0.0,
            _ARCHGYM[what],
            is_required=what != "search gave up",
        )
        for what, rows in met.items()
    ]


def _has_no_mapping(problem: Problem, architecture: Architecture) -> bool:
    """Return True if the published constraints leave no mapping for a layer.

    All of S is spread along the array's columns, and all of R is in the registers of weights and
    inputs.
    """
    rows = architecture.fan_out(architecture.level_index("DummyBuffer"))[1]
    registers = [
        architecture.levels[architecture.level_index(name)].capacity or 0
        for name in ("weights_spad", "ifmap_spad")
    ]
    return problem.bounds["S"] > rows or problem.bounds["R"] > min(registers)


def _published_values(params: dict[str, Any]) -> dict[str, Any]:
    values = {"num_pes": params["NUM_PEs"], "mac_mesh_x": params["MAC_MESH_X"]}
    for key, value in params.items():
        part, _, name = key.partition("_")
        if part in _NAMES:
            values[f"{_NAMES[part]}_{_NAMES.get(name, name)}"] = value
    return values


def _scale_sim(path: Path) -> list[Agreement]:
    met, errors, n_unfinished = [], [0.0], 0
    for _, row in json_lines(path):
        if "Total Cycles" not in row:
            n_unfinished += 1
            continue
        d = row["dims"]
        problem = convolution(
            row["layer"], channels=d["C"], filters=d["M"], output=(d["P"], d["Q"]),
            kernel=(d["R"], d["S"]), stride=(row["stride"],) * 2, batch=d["N"],
        )  # fmt: skip
        run = systolic_run(problem, row["n"], row["n"], _SCALE_SIM[row["dataflow"]])
        errors.append(abs(100 * run.utilisation - float(row["Overall Util %"])))
        met.append(run.cycles == int(row["Total Cycles"]) and errors[-1] < 1e-6)
    return [
        Agreement(
            path.stem, "systolic", "all", len(met), sum(met), max(errors),
            "cycles and utilisation; worst error of utilisation [%]; "
            f"{n_unfinished} more runs never finished",
        )
    ]  # fmt: skip


def _closed_form(path: Path) -> list[Agreement]:
    layers = recorded_layers(path.with_name("timeloop_mappings_meta.json"))
    met: dict[str, list[bool]] = {}
    with path.open(encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle):
            n = int(row["array_n"])
            run = systolic_run(layers[row["layer"]], n, n, _SCALE_SIM[row["dataflow"]])
            met.setdefault(row["layer"], []).append(run.cycles == int(row["total_cycles"]))
    return [
        Agreement(
            path.stem, "systolic", layer, len(rows), sum(rows), 0.0,
            "cycles of the closed form that every finished run met",
        )
        for layer, rows in met.items()
    ]  # fmt: skip


def _maestro(path: Path) -> list[Agreement]:
    """Compare operations and weights; the meaning lists what is not comparable."""
    met, slower = [], []
    for _, row in json_lines(path):
        result = row["result"]
        if result is None:
            continue
        k, c, y, x, r, s = row["KCYXRS"]
        problem = convolution(
            row["layer"], channels=c, filters=k, output=(x - s + 1, y - r + 1), kernel=(s, r)
        )
        weights = int(result["filter l2 write"]) == problem.tensor_size(0)
        met.append(weights and int(result["Num MACs"]) == problem.n_operations)
        units = max(1, int(row["mapping"]["pes"]))
        slower.append(float(result["Runtime (Cycles)"]) / (problem.n_operations / units))
    typical = float(np.median(slower)) if slower else 0.0
    return [
        Agreement(
            path.stem, "two levels", "random", len(met), sum(met), typical,
            "operations and weights from DRAM; median of its cycles / least cycles. Its tiles need "
            "not divide, it has no stride or padding, counts a network's latency and has other "
            "energies: cycles, accesses and energy are not comparable",
            is_required=False,
        )
    ]  # fmt: skip


def _golden() -> list[Agreement]:
    """Compare the rows of `data/golden.csv`, which record every metric of some designs."""
    from archgym.simulators.accelerator.simulator import AcceleratorSimulator

    path = resources.files("evidence.accelerator").joinpath("data/golden.csv")
    met: dict[tuple[str, str], list[bool]] = {}
    for row in csv.DictReader(path.read_text("utf-8").splitlines()):
        simulator = AcceleratorSimulator(space=row["space"], fidelity=row["fidelity"])
        default = simulator.space.design_at(simulator.space.default_indices)
        found = simulator.evaluate(
            {**default, **json.loads(row["design"])}, simulator.workload(row["workload"])
        )
        is_same = all(
            math.isclose(found[spec.name], float(row[spec.name]), rel_tol=1e-9)
            for spec in simulator.metrics
            if spec.name in row  # metrics that only explain may be younger than the rows
        )
        met.setdefault((row["space"], row["workload"]), []).append(is_same)
    return [
        Agreement("golden", *key, len(rows), sum(rows), 0.0, "every metric, to 1e-9")
        for key, rows in met.items()
    ]
