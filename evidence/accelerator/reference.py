"""Comparison of the model with recorded results of Timeloop, ArchGym, SCALE-Sim and MAESTRO."""

import json
import math
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from archgym.errors import FileFormatError
from archgym.evaluation.simulator import Workload, default_workload
from archgym.simulators.accelerator.formats.files import architecture_yaml
from archgym.simulators.accelerator.kernel.evaluation import Evaluation, evaluate_mapping
from archgym.simulators.accelerator.kernel.systolic import DATAFLOWS, SYSTOLIC
from archgym.simulators.accelerator.machine.architecture import Architecture
from archgym.simulators.accelerator.machine.mapping import Mapping as LayerMapping
from archgym.simulators.accelerator.mapping.mapper import anneal_mapping, map_space
from archgym.simulators.accelerator.mapping.space import slots_of
from archgym.simulators.accelerator.problem import Problem, convolution
from archgym.simulators.accelerator.simulator import AcceleratorSimulator
from archgym.simulators.accelerator.space import FIXED_ORDERS, published_hardware
from archgym.simulators.accelerator.workloads import Layer, Network, load_network
from archgym.spaces.parameter import Factorisation, Parameter, Permutation
from evidence.accelerator.recorded import (
    Recorded,
    mapping_from_text,
    recorded_architectures,
    recorded_layers,
    recorded_mappings,
    recorded_tables,
)
from evidence.agreement import Agreement, validation_of
from evidence.recorded import json_lines, read_rows, read_table
from evidence.validation import Group, Progress, Validation, chosen, metrics_of

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
_WHAT_DESIGNS: Final = "verdict, cycles, utilisation; worst error of energy [%]"
_WHAT_TIMELOOP: Final = "verdict, accesses, tiles, cycles, utilisation; worst error of energy [%]"


# Groups of ArchGym's recorded designs, and the comparison.
_ARCHGYM: Final = {
    "given mappings": "cycles, energy as printed, area; worst error of energy [%]",
    "no mapping exists": "our mapper finds none either: S or R does not fit, see the README",
    "search gave up": "Timeloop's search ended after 150 invalid mappings in a row; ours finds one",
    "CACTI refuses": "our table lacks the buffer too",
}


RECORDED, SYSTOLIC_RUNS, CLOSED, MAPPINGS, COUNTS, MAPPER, PUBLISHED, MAESTRO = (
    "recorded", "scale-sim", "closed-form", "timeloop", "timeloop-counts", "mapper", "archgym",
    "maestro",
)  # fmt: skip
GROUPS: Final = (
    Group(RECORDED, "our own recorded designs of all spaces, in every metric"),
    Group(SYSTOLIC_RUNS, "runs of SCALE-Sim, in the space systolic: cycles and utilisation"),
    Group(CLOSED, "cycles of a closed form that every run of SCALE-Sim met, in the space systolic"),
    Group(
        MAPPINGS,
        "mappings by Timeloop that are designs of the space mapping: verdict, cycles, utilisation, "
        "energy",
    ),
    Group(
        COUNTS,
        "all mappings that Timeloop evaluated, with the accesses to each level",
        "a design has the tensors that its accelerator keeps at each level, and accesses by level "
        "are no metrics",
    ),
    Group(MAPPER, "best mappings of Timeloop's mapper", "compares mappers on layers of a file"),
    Group(
        PUBLISHED,
        "designs that ArchGym recorded with Timeloop",
        "the mappings are the recorded ones, and a design's are found by our mapper",
    ),
    Group(MAESTRO, "mappings that MAESTRO evaluated", "compares counts of operations alone"),
)


def validate(
    reference: Path | None = None, progress: Progress | None = None, *, group: str | None = None
) -> Validation[Agreement]:
    """Compare the model with recorded results.

    Args:
      reference: Folder with the recorded results, or one that contains it as `accelerator`; None
        for only the golden rows.
      progress: Callback that receives the next step's name.
      group: Group to compare; all by default.

    Raises:
      UnknownNameError: There is no such group.
    """
    wanted = chosen(GROUPS, group)
    report = progress if progress is not None else lambda _: None
    report("golden rows")
    lines = _golden() if RECORDED in wanted else []
    if reference is not None:
        folder = reference / "accelerator"
        folder = folder if folder.is_dir() else reference
        for what, of, compare in (
            ("timeloop_mappings.jsonl", MAPPINGS, _designs),
            ("timeloop_link_cases.jsonl", MAPPINGS, _designs),
            ("timeloop_mappings.jsonl", COUNTS, _timeloop),
            ("timeloop_link_cases.jsonl", COUNTS, _timeloop),
            ("timeloop_mapper_best.jsonl", MAPPER, _mapper),
            ("archgym_timeloop_random.jsonl", PUBLISHED, _archgym),
            ("scalesim_runs.jsonl", SYSTOLIC_RUNS, _scale_sim),
            ("scalesim_closed_form.csv", CLOSED, _closed_form),
            ("maestro_random_mappings.jsonl", MAESTRO, _maestro),
        ):
            if of in wanted and (folder / what).exists():
                report(what)
                lines += compare(folder / what)
    return validation_of(lines, GROUPS)


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
        _line(COUNTS, path.stem, key, rows, 100 * errors.get(key, 0.0), _WHAT_TIMELOOP)
        for key, rows in met.items()
    ]


def _designs(path: Path) -> list[Agreement]:
    """Evaluate the mappings that are designs of the space `mapping`, as a search does."""
    meta = path.with_name(f"{path.stem}_meta.json")
    architectures, layers = recorded_architectures(meta), recorded_layers(meta)
    tables = recorded_tables(meta)
    rows: dict[tuple[str, str], list[Recorded]] = {}
    for row in recorded_mappings(path):
        # What a design keeps at each level is what its accelerator keeps.
        kept = [level.keeps for level in architectures[row.architecture].levels]
        if [level.keeps for level in row.mapping.levels] == kept:
            rows.setdefault((row.architecture, row.layer), []).append(row)
    lines = []
    for key, own in rows.items():
        architecture, problem = architectures[key[0]], layers[key[1]]
        with tempfile.TemporaryDirectory() as folder:
            machine, network = Path(folder) / "machine.yaml", Path(folder) / "network.csv"
            machine.write_text(architecture_yaml(architecture))
            network.write_text(tables[key[1]])
            simulator = AcceleratorSimulator(
                "mapping", layer=f"{network}/{problem.name}", architecture=str(machine)
            )
            workload = simulator.workload(default_workload(simulator))
        slots = slots_of(problem, architecture)
        parameters, names = simulator.space.parameters, architecture.level_names
        designs = [_design_of(row.mapping, parameters, names, slots) for row in own]
        placed = [(row, made) for row, made in zip(own, designs, strict=True) if made]
        if placed:
            indices = np.array([simulator.space.indices_of(design) for _, design in placed])
            metrics = metrics_of(simulator, workload, indices)
            agreed = [
                _agrees({name: float(values[at]) for name, values in metrics.items()}, row)
                for at, (row, _) in enumerate(placed)
            ]
            met, errors = zip(*agreed, strict=True)
            lines.append(_line(MAPPINGS, path.stem, key, met, 100 * max(errors), _WHAT_DESIGNS))
    return lines


def _design_of(
    mapping: LayerMapping,
    parameters: Sequence[Parameter],
    names: Sequence[str],
    slots: Mapping[str, Sequence[tuple[int, int]]],
) -> dict[str, Any]:
    """Return a mapping as a design of its layer; empty if loops are where the space has none.

    Args:
      mapping: The mapping.
      parameters: Parameters of the layer's mappings.
      names: Names of the levels.
      slots: Level and kind of each slot of a dimension's loops, as `slots_of` gives them.
    """
    levels = {f"order_{name.lower()}": at for at, name in enumerate(names)}
    design: dict[str, Any] = {}
    for parameter in parameters:
        if isinstance(parameter, Permutation):
            loops = [d for d, _ in mapping.levels[levels[parameter.name]].temporal]
            order = dict.fromkeys([*loops, *parameter.items])
            design[parameter.name] = tuple(d for d in order if d in parameter.items)
            continue
        assert isinstance(parameter, Factorisation), "others do not occur"
        dimension = parameter.name.removeprefix("split_").upper()
        split = []
        for place, kind in slots[dimension]:
            level = mapping.levels[place]
            split.append(dict((level.temporal, level.spatial_x, level.spatial_y)[kind]))
        design[parameter.name] = factors = tuple(loops.get(dimension, 1) for loops in split)
        if math.prod(factors) != parameter.total:
            return {}
    return design


def _agrees(found: Mapping[str, float], row: Recorded) -> tuple[bool, float]:
    """Return True if the metrics of a design are those of Timeloop, and the error of energy."""
    cycles = found["latency_cycles"]
    if not row.is_valid or math.isnan(cycles):
        return math.isnan(cycles) and not row.is_valid, 0.0
    expected = row.statistics
    error = abs(1e6 * found["energy_uj"] / expected["energy_pJ"] - 1)
    used = abs(found["utilisation_percent"] / 100 - expected["Utilization"])
    is_met = cycles == expected["Cycles"] and error <= _ENERGY_TOLERANCE
    return is_met and used <= _UTILISATION_STEP / 2 + 1e-9, error


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
        key = row["arch"], row["layer"]
        lines.append(_line(MAPPER, path.stem, key, [ratio >= 1], ratio, meaning))
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    meaning = f"geometric mean of {len(ratios)}; {max(seconds):.2f} s of processor a layer at most"
    lines.append(_line(MAPPER, path.stem, ("all", "all"), [mean >= 10], mean, meaning))
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
        _line(
            PUBLISHED,
            path.stem,
            ("timeloop-2023", what),
            rows,
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


def _systolic(
    cases: Iterable[tuple[Problem, int, str]],
) -> Iterator[tuple[float, float]]:
    """Yield cycles and utilisation [%] of layers on square arrays, as a search gets them."""
    simulator = AcceleratorSimulator(SYSTOLIC)
    for problem, n, dataflow in cases:
        network = Network(problem.name, (Layer(problem.name, problem, 1),))
        workload = Workload(network.name, network.digest, network)
        design = {"array_height": n, "array_width": n, "dataflow": _SCALE_SIM[dataflow]}
        indices = simulator.space.indices_of(design)[None, :]
        found = metrics_of(simulator, workload, indices)
        yield float(found["latency_cycles"][0]), float(found["utilisation_percent"][0])


def _scale_sim(path: Path) -> list[Agreement]:
    finished = [row for _, row in json_lines(path) if "Total Cycles" in row]
    cases = []
    for row in finished:
        d = row["dims"]
        problem = convolution(
            row["layer"], channels=d["C"], filters=d["M"], output=(d["P"], d["Q"]),
            kernel=(d["R"], d["S"]), stride=(row["stride"],) * 2, batch=d["N"],
        )  # fmt: skip
        cases.append((problem, row["n"], row["dataflow"]))
    met, errors = [], [0.0]
    for row, (cycles, used) in zip(finished, _systolic(cases), strict=True):
        errors.append(abs(used - float(row["Overall Util %"])))
        met.append(cycles == int(row["Total Cycles"]) and errors[-1] < 1e-6)
    n_unfinished = sum(1 for _ in json_lines(path)) - len(finished)
    what = "cycles and utilisation; worst error of utilisation [%]; "
    note = f"{what}{n_unfinished} more runs never finished"
    return [_line(SYSTOLIC_RUNS, path.stem, ("systolic", "all"), met, max(errors), note)]


def _closed_form(path: Path) -> list[Agreement]:
    layers = recorded_layers(path.with_name("timeloop_mappings_meta.json"))
    rows = read_rows(path)
    cases = [(layers[r.text("layer")], r.whole("array_n"), r.text("dataflow")) for r in rows]
    met: dict[str, list[bool]] = {}
    for row, (cycles, _) in zip(rows, _systolic(cases), strict=True):
        met.setdefault(row.text("layer"), []).append(cycles == row.whole("total_cycles"))
    note = "cycles of the closed form that every finished run met"
    return [
        _line(CLOSED, path.stem, ("systolic", layer), found, 0.0, note)
        for layer, found in met.items()
    ]


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
        _line(
            MAESTRO, path.stem, ("two levels", "random"), met, typical,
            "operations and weights from DRAM; median of its cycles / least cycles. Its tiles need "
            "not divide, it has no stride or padding, counts a network's latency and has other "
            "energies: cycles, accesses and energy are not comparable",
            is_required=False,
        )
    ]  # fmt: skip


def _golden() -> list[Agreement]:
    """Compare the rows of `data/golden.csv`, which record every metric of some designs."""
    met: dict[tuple[str, str], list[bool]] = {}
    for row in read_table(Path(__file__).parent / "data" / "golden.csv"):
        simulator = AcceleratorSimulator(space=row["space"], fidelity=row["fidelity"])
        default = simulator.space.design_at(simulator.space.default_indices)
        design = {**default, **json.loads(row["design"])}
        indices = simulator.space.indices_of(design)[None, :]
        found = metrics_of(simulator, simulator.workload(row["workload"]), indices)
        is_same = all(
            math.isclose(found[spec.name][0], float(row[spec.name]), rel_tol=1e-9)
            for spec in simulator.metrics
            if spec.name in row  # metrics that only explain may be younger than the rows
        )
        met.setdefault((row["space"], row["workload"]), []).append(is_same)
    note = "every metric, to 1e-9"
    return [_line(RECORDED, "golden", key, rows, 0.0, note) for key, rows in met.items()]


def _line(
    group: str,
    results: str,
    key: tuple[str, str],
    met: Sequence[bool],
    figure: float,
    note: str,
    *,
    is_required: bool = True,
) -> Agreement:
    """Return the agreement of rows that share an architecture and a layer."""
    quantity = ", ".join(key)
    return Agreement(
        group, results, quantity, len(met), sum(met), figure, note=note, is_required=is_required
    )
