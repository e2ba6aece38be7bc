"""Designs as architectures in our form, and as files of Timeloop 0.4 with a mapping of each layer.

The form of nodes is that of Timeloop 0.4 (github.com/Accelergy-Project/timeloopfe, and the designs
of timeloop-accelergy-exercises). `timeloop_yaml` reads the files.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any, Final

import yaml

from archgym.simulators.accelerator.formats.files import architecture_yaml
from archgym.simulators.accelerator.formats.timeloop_nodes import spread_name
from archgym.simulators.accelerator.formats.timeloop_problem import problem_text
from archgym.simulators.accelerator.formats.timeloop_yaml import timeloop_mapping_text
from archgym.simulators.accelerator.kernel.evaluation import evaluate_mapping
from archgym.simulators.accelerator.machine.architecture import Architecture, Level
from archgym.simulators.accelerator.machine.mapping import LevelLoops, Mapping
from archgym.simulators.accelerator.mapping.mapper import Found, Search, find_mapping
from archgym.simulators.accelerator.problem import TENSORS, Problem
from archgym.simulators.kit import InvalidDesignError
from archgym.simulators.kit.exports import Number, Tool, folder

ARCHITECTURE: Final = "architecture"
TIMELOOP: Final = "timeloop"
FORMATS: Final = {
    ARCHITECTURE: "Architecture in our form, for `archgym map --arch`.",
    TIMELOOP: "Architecture, and problem and mapping of each layer, of Timeloop 0.4.",
}
# chosen: memories up to this size are register files in Accelergy's classes, larger ones SRAMs.
_MOST_REGISTERS: Final = 1024
_CHANGED: Final = (
    "Timeloop spreads a dimension along one axis of an array. The simulator's own mappings of some "
    "layers spread one along both, so they were searched again with that restriction. The mapper "
    "samples mappings, so the second search may find a cheaper one than the first. A mapping's "
    "cost is the quantity that the mapper minimises."
)
TOOL: Final = Tool(
    name="Timeloop",
    release="0.4 (timeloopfe.v4)",
    get="the container of github.com/Accelergy-Project/timeloop-accelergy-exercises has it.",
    program="python3",
    inside="bin/python3",
    module="timeloopfe.v4",
)
_RUN: Final = '''\
"""Evaluate the mapping of each layer with Timeloop."""

from pathlib import Path

import timeloopfe.v4 as timeloop

for folder in sorted(path.parent for path in Path().glob("*/problem.yaml")):
    spec = timeloop.Specification.from_yaml_files(
        "architecture.yaml", str(folder / "problem.yaml"), str(folder / "mapping.yaml")
    )
    timeloop.call_model(spec, output_dir=str("output" / folder))
'''
# chosen: searches of mappings with dimensions that keep to an axis; each takes a second at most.
_MAX_RESTRICTED: Final = 32
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]+")


def architecture_files(
    architecture: Architecture, layers: Sequence[tuple[str, Problem, Mapping]]
) -> dict[str, str]:
    """Return the architecture in our form, and mappings in our JSON.

    Args:
      architecture: The accelerator.
      layers: Names, problems and mappings to add; `architecture.yaml` alone without them.
    """
    files = {"architecture.yaml": architecture_yaml(architecture)}
    for name, _, mapping in layers:
        files[f"{_file_name(name)}.mapping.json"] = mapping.json_text(architecture) + "\n"
    return files


def timeloop_files(
    architecture: Architecture,
    layers: Sequence[tuple[str, Problem, Mapping]],
    ratios: Sequence[float] = (),
) -> dict[str, str | bytes]:
    """Return Timeloop's files: one architecture, and a problem and a mapping for each layer.

    Args:
      architecture: The accelerator.
      layers: Names, problems and mappings.
      ratios: Costs of the mappings over those of the simulator's, which may have others.

    Raises:
      InvalidDesignError: Timeloop's nodes cannot express the architecture or a mapping.
    """
    spread = spread_architecture(architecture)
    files = {"architecture.yaml": timeloop_architecture_text(architecture), "run.py": _RUN}
    numbers = []
    changed = [
        f"{layers[place][0]}: {_changed_cost(ratio)}."
        for place, ratio in enumerate(ratios)
        if ratio != 1.0
    ]
    for number, (name, problem, mapping) in enumerate(layers, 1):
        both = shared_dimensions(mapping)
        if both:
            raise InvalidDesignError(
                f"The mapping of {name!r} spreads {', '.join(sorted(both))} along both axes of "
                "the array, which Timeloop cannot express. Spread it along one axis."
            )
        place = f"{number:02d}-{_file_name(name)}"
        files[f"{place}/problem.yaml"] = problem_text(problem)
        files[f"{place}/mapping.yaml"] = timeloop_mapping_text(
            spread_mapping(architecture, mapping), problem, spread
        )
        numbers.append(
            Number(
                metric=f"cycles of {name}",
                value=float(evaluate_mapping(problem, architecture, mapping).cycles),
                unit="cycles",
                file=f"output/{place}/timeloop-model.stats.txt",
                after=("Summary Stats", "Cycles:"),
            )
        )
    differences = [_CHANGED, *changed] if changed else []
    differences.append(
        "Timeloop has one energy for all accesses of a component; the files have that of reads."
    )
    return folder(TOOL, files, '"$tool" run.py', numbers, differences=differences)


def _changed_cost(ratio: float) -> str:
    """Return the cost of a mapping relative to the simulator's, in words."""
    text = f"{ratio:.3f} times the cost of the simulator's mapping"
    return text if ratio > 1.0 else f"a cheaper mapping was found for this layer, with {text}"


def shared_dimensions(mapping: Mapping) -> set[str]:
    """Return the dimensions that a level spreads along both axes, which Timeloop cannot express.

    Timeloop orders the loops along both axes in one list, in which a dimension occurs once.
    """
    both: set[str] = set()
    for loops in mapping.levels:
        along_x = {name for name, bound in loops.spatial_x if bound > 1}
        both |= along_x & {name for name, bound in loops.spatial_y if bound > 1}
    return both


def expressible_mapping(
    problem: Problem, architecture: Architecture, search: Search
) -> tuple[Mapping | None, float]:
    """Return the best mapping that spreads each dimension along one axis only.

    Args:
      problem: The layer.
      architecture: The accelerator.
      search: Settings of the search.

    Returns:
      The mapping, None if none was found, and its cost over that of the simulator's mapping, in
      the quantity that the mapper minimises.
    """
    free = find_mapping(problem, architecture, search)
    if free.mapping is None:
        return None, 1.0
    best: Found | None = None
    waiting: list[tuple[dict[str, str], Found]] = [({}, free)]
    for _ in range(_MAX_RESTRICTED):
        if not waiting:
            break
        kept, found = waiting.pop(0)
        # A dimension that keeps to an axis may make room for another one on both.
        both = sorted(shared_dimensions(found.mapping)) if found.mapping is not None else []
        if not both:
            if best is None or _cost(found, search) < _cost(best, search):
                best = found
            continue
        for axes in product("xy", repeat=len(both)):
            more = kept | dict(zip(both, axes, strict=True))
            levels = tuple(_restricted(level, more, problem) for level in architecture.levels)
            other = find_mapping(problem, replace(architecture, levels=levels), search)
            if other.mapping is not None:
                waiting.append((more, other))
    if best is None:
        return None, 1.0
    return best.mapping, _cost(best, search) / _cost(free, search)


def _restricted(level: Level, kept: dict[str, str], problem: Problem) -> Level:
    """Return a level that spreads some dimensions along one axis only."""

    def without(names: tuple[str, ...] | None, axis: str) -> tuple[str, ...]:
        allowed = problem.dimensions if names is None else names
        return tuple(name for name in allowed if kept.get(name, axis) == axis)

    along_x, along_y = without(level.spatial_x, "x"), without(level.spatial_y, "y")
    return replace(level, spatial_x=along_x, spatial_y=along_y)


def _cost(found: Found, search: Search) -> float:
    return {"energy": found.energy_pj, "cycles": found.cycles}.get(search.objective, found.edp)


def _file_name(name: str) -> str:
    return _UNSAFE.sub("-", name).strip("-.") or "layer"


def _fans(architecture: Architecture) -> list[tuple[int, int]]:
    """Return the fan-out of each level, innermost first."""
    return [architecture.fan_out(place) for place in range(architecture.n_levels)]


def _array_names(architecture: Architecture) -> list[str]:
    """Return the name of the array of instances below each level, empty without fan-out."""
    fans = _fans(architecture)
    many = [place for place, (x, y) in enumerate(fans) if x * y > 1]
    names = [""] * len(fans)
    for number, place in enumerate(reversed(many), 1):
        names[place] = "PE" if len(many) == 1 else f"PE{number}"
    return names


def spread_architecture(architecture: Architecture) -> Architecture:
    """Return the architecture as Timeloop's front end has it: a level spreads each fan-out.

    Raises:
      InvalidDesignError: The instances of a level do not form a grid below the one above.
    """
    levels: list[Level] = []
    for place, (level, name) in enumerate(
        zip(architecture.levels, _array_names(architecture), strict=True)
    ):
        if name:
            _check_grid(architecture, place)
            spread = Level(
                spread_name(name), 1, level.instances, level.mesh_x, temporal=(), keeps=frozenset()
            )
            levels.append(replace(spread, spatial_x=level.spatial_x, spatial_y=level.spatial_y))
        levels.append(replace(level, spatial_x=None, spatial_y=None) if name else level)
    return replace(architecture, levels=tuple(levels))


def _check_grid(architecture: Architecture, place: int) -> None:
    outer = architecture.levels[place]
    inner = architecture.mac if place == 0 else architecture.levels[place - 1]
    x, y = architecture.fan_out(place)
    if (outer.mesh_x * x, outer.mesh_y * y) != (inner.mesh_x, inner.mesh_y):
        raise InvalidDesignError(
            f"Timeloop 0.4 needs a grid of {inner.name!r} below each {outer.name!r}; "
            f"{inner.mesh_x} by {inner.mesh_y} is not one of {outer.mesh_x} by {outer.mesh_y}."
        )


def spread_mapping(architecture: Architecture, mapping: Mapping) -> Mapping:
    """Return a mapping for `spread_architecture`: spatial loops are at the levels that spread.

    Args:
      architecture: The accelerator of the mapping.
      mapping: The mapping.
    """
    levels: list[LevelLoops] = []
    for loops, name in zip(mapping.levels, _array_names(architecture), strict=True):
        if name:
            levels.append(LevelLoops((), loops.spatial_x, loops.spatial_y, frozenset()))
            levels.append(LevelLoops(loops.temporal, keeps=loops.keeps))
        else:
            levels.append(loops)
    return Mapping(tuple(levels))


def architecture_settings(form: str, architecture: Architecture) -> dict[str, Any]:
    """Return what the file of an accelerator says in a format, as nested data."""
    text = architecture_yaml(architecture)
    if form == TIMELOOP:
        text = timeloop_architecture_text(architecture).replace("!C", "# C")
    # The loader in C takes a tenth of the time, and a reader compares hundreds of designs.
    found: dict[str, Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text).get_single_data()
    return found


def timeloop_architecture_text(architecture: Architecture) -> str:
    """Return the nodes of Timeloop 0.4 that `timeloop_architecture` reads as the same levels.

    Timeloop has one energy for all accesses of a component, that of reading; a comment names the
    energy of writing where it differs.
    """
    fans, names = _fans(architecture), _array_names(architecture)
    lines = [
        f"# {architecture.name}, with a fixed mapping of each layer next to it.",
        "architecture:",
        "  version: 0.4",
        "  nodes:",
    ]
    for place in reversed(range(architecture.n_levels)):
        lines += _component(architecture.levels[place], is_outermost=place == len(fans) - 1)
        if names[place]:
            x, y = fans[place]
            lines += ["    - !Container", f"      name: {names[place]}"]
            lines.append(f"      spatial: {{meshX: {x}, meshY: {y}}}")
    mac = architecture.mac
    bits = architecture.levels[-1].word_bits
    lines += ["    - !Component", f"      name: {mac.name}", "      class: intmac"]
    lines += ["      attributes:", f"        multiplier_width: {bits}"]
    lines += [f"        adder_width: {bits}", f"        vector_access_energy: {mac.energy_pj!r}"]
    return "\n".join(lines) + "\n"


def _component(level: Level, *, is_outermost: bool) -> list[str]:
    attributes: dict[str, object] = {
        "width": level.block * level.word_bits,
        "datawidth": level.word_bits,
        "block_size": level.block,
    }
    if is_outermost:
        kind = "DRAM"
        attributes["type"] = "LPDDR4"
    else:
        capacity = level.capacity or 1
        kind = "regfile" if capacity <= _MOST_REGISTERS else "SRAM"
        if capacity % level.block:
            attributes["entries"] = capacity
        else:
            attributes["depth"] = capacity // level.block
    for name in ("read_bandwidth", "write_bandwidth", "shared_bandwidth"):
        value = getattr(level, name)
        if value is not None:
            attributes[name] = value
    attributes["vector_access_energy"] = level.read_energy_pj
    lines = ["    - !Component", f"      name: {level.name}", f"      class: {kind}"]
    if level.write_energy_pj != level.read_energy_pj:
        lines.append(f"      # A write takes {level.write_energy_pj!r} pJ.")
    lines.append("      attributes:")
    lines += [f"        {name}: {value}" for name, value in attributes.items()]
    if level.keeps != frozenset(TENSORS):
        kept = ", ".join(t for t in TENSORS if t in level.keeps)
        passed = ", ".join(t for t in TENSORS if t not in level.keeps)
        lines += ["      constraints:"]
        lines += [f"        dataspace: {{keep: [{kept}], bypass: [{passed}]}}"]
    return lines
