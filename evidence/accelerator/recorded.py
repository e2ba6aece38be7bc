"""Recorded results of Timeloop: architectures, layers, mappings and statistics."""

import re
from collections.abc import Callable, Iterator
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, final

from archgym.errors import FileFormatError
from archgym.simulators.accelerator.machine.architecture import Architecture, Level, MacArray
from archgym.simulators.accelerator.machine.mapping import LevelLoops, Loop, Mapping
from archgym.simulators.accelerator.problem import TENSORS, Problem, convolution
from archgym.simulators.accelerator.workloads import network_csv
from evidence.recorded import json_lines, read_json, reading

Made = TypeVar("Made")

# chosen: about three times the longest recorded line, and more lines than any file has.
_MAX_LINE_BYTES = 2**20
_MAX_LINES = 100_000


@final
@dataclass(frozen=True)
class Recorded:
    """Recorded mapping: names of architecture and layer, Timeloop's verdict and statistics.

    The statistics are empty if Timeloop rejected the mapping.
    """

    architecture: str
    layer: str
    mapping: Mapping
    is_valid: bool
    statistics: MappingOf[str, Any]


def _named(path: Path, key: str, made: Callable[[Any], Made]) -> dict[str, Made]:
    content = read_json(path)
    with reading(path):
        return {name: made(data) for name, data in content[key].items()}


def recorded_architectures(path: Path) -> dict[str, Architecture]:
    """Return the architectures of a file of metadata, by name."""
    return _named(path, "archs", _architecture)


def recorded_layers(path: Path) -> dict[str, Problem]:
    """Return the layers of a file of metadata, by name."""
    return _named(path, "layers", _layer)


def recorded_tables(path: Path) -> dict[str, str]:
    """Return the layers of a file of metadata as tables that the simulator reads, by name."""
    return _named(path, "layers", _table)


def _table(data: MappingOf[str, Any]) -> str:
    groups = data["M"] if data["depthwise"] else 1
    cells = {
        **{"layer": data["name"], "kind": "conv", "count": 1, "groups": groups},
        **{"channels": data["C"] * groups, "filters": data["M"], "batch": data["N"]},
        **{"output_x": data["P"], "output_y": data["Q"]},
        **{"kernel_x": data["R"], "kernel_y": data["S"]},
        **{"stride_x": data["Wstride"], "stride_y": data["Hstride"]},
        **{"dilation_x": data["Wdilation"], "dilation_y": data["Hdilation"]},
    }
    return network_csv([cells], "A recorded layer.")


def _architecture(data: MappingOf[str, Any]) -> Architecture:
    keeps = data["keep_default"]
    levels = tuple(
        Level(
            name=level["name"],
            capacity=level["size"],
            instances=level["instances"],
            mesh_x=level["meshX"],
            block=level["block"],
            word_bits=level["word_bits"],
            read_energy_pj=level["e_read"],
            write_energy_pj=level["e_write"],
            read_bandwidth=level["read_bw"],
            write_bandwidth=level["write_bw"],
            area_um2=level["area_um2"],
            keeps=frozenset(t for t in TENSORS if keeps[t][place]),
        )
        for place, level in enumerate(data["levels"])
    )
    arithmetic = "LMAC" if data["name"] == "simba_like" else "mac"
    mac = MacArray(
        data["macs"], data["mac_meshX"], data["mac_energy"], data["mac_area_um2"], arithmetic
    )
    return Architecture(data["name"], levels, mac)


def _layer(data: MappingOf[str, Any]) -> Problem:
    groups = data["M"] if data["depthwise"] else 1
    return convolution(
        data["name"],
        channels=data["C"] * groups,
        filters=data["M"],
        output=(data["P"], data["Q"]),
        kernel=(data["R"], data["S"]),
        stride=(data["Wstride"], data["Hstride"]),
        dilation=(data["Wdilation"], data["Hdilation"]),
        batch=data["N"],
        groups=groups,
    )


def recorded_mappings(path: Path) -> Iterator[Recorded]:
    """Yield the mappings of a file of results."""
    for number, row in json_lines(path):
        try:
            mapping, statistics = _mapping(row["mapping"]), row.get("stats", {})
            recorded = Recorded(row["arch"], row["layer"], mapping, row["valid"], statistics)
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise FileFormatError(path, number, f"a row is not as recorded; {error}") from None
        yield recorded


def _mapping(data: MappingOf[str, Any]) -> Mapping:
    keeps = data["keep"]
    return Mapping(
        tuple(
            LevelLoops(
                tuple((d, n) for d, n in level["temporal"]),
                tuple((d, n) for d, n, axis in level["spatial"] if axis == "X"),
                tuple((d, n) for d, n, axis in level["spatial"] if axis == "Y"),
                frozenset(t for t in TENSORS if keeps[t][place]),
            )
            for place, level in enumerate(data["levels"])
        )
    )


_HEAD = re.compile(r"(?P<name>\w+) \[(?P<kept>.*)\]\s*")
_LOOP = re.compile(
    r"[| ]*for (?P<dimension>\w+) in \[0:(?P<bound>\d+)\)(?P<axis> \(Spatial-[XY]\))?"
)


def mapping_from_text(text: str, architecture: Architecture) -> Mapping:
    """Return a mapping from Timeloop's output: levels outermost first, each above its loops.

    Levels that the output does not name have no loops and store nothing.

    Raises:
      ValueError: A loop precedes all levels, or a level is unknown.
    """
    loops: dict[str, tuple[list[Loop], list[Loop], list[Loop]]] = {}
    kept: dict[str, frozenset[str]] = {}
    name = ""
    for line in text.splitlines():
        if head := _HEAD.fullmatch(line):
            name = head["name"]
            if name not in architecture.level_names:
                raise ValueError(f"{architecture.name} has no level {name!r}")
            kept[name] = frozenset(t for t in TENSORS if f"{t}:" in head["kept"])
            loops[name] = ([], [], [])
        elif loop := _LOOP.match(line):
            if not name:
                raise ValueError("a loop precedes all levels")
            kind = 0 if loop["axis"] is None else 1 if "X" in loop["axis"] else 2
            loops[name][kind].insert(0, (loop["dimension"], int(loop["bound"])))
    levels = []
    for level in architecture.level_names:
        temporal, along_x, along_y = map(tuple, loops.get(level, ((), (), ())))
        levels.append(LevelLoops(temporal, along_x, along_y, kept.get(level, frozenset())))
    return Mapping(tuple(levels))
