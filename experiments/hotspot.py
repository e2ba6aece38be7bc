"""Temperatures of floorplans against HotSpot.

Usage: ``python experiments/hotspot.py --hotspot FOLDER``, a built checkout of HotSpot 7
(uvahotspot/HotSpot, commit f18831e, ``make``). Floorplans: the EV6 of its example 1 with the mean
of its trace, the three blocks and the EV6 of its example 3 with powers of ours, and the default
core of the CPU simulator on `stencil`. Configuration: example 1's, with the block model and with
the grid model of 64 x 64 cells.
"""

import argparse
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from archgym.evaluation.capabilities import breakdown_of
from archgym.physics.thermal import Block, ThermalNetwork, floorplan
from archgym.simulators.cpu import CpuSimulator

KELVIN = 273.15


def main() -> None:
    """Print the largest difference of any block, and the hottest blocks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hotspot", type=Path, required=True)
    folder = parser.parse_args().hotspot.resolve()
    print("| floorplan | blocks | W | HotSpot | hottest there | hottest here | worst block |")
    print("|---|---:|---:|---|---:|---:|---:|")
    for name, blocks, watts in cases(folder / "examples"):
        ours = ThermalNetwork(blocks).steady(watts)
        for model in ("grid", "block"):
            theirs = hotspot(folder, blocks, watts, model)
            worst = float(np.abs(ours - theirs).max())
            print(
                f"| {name} | {len(blocks)} | {sum(watts):.1f} | {model} | {theirs.max():.2f} C | "
                f"{ours.max():.2f} C | {worst:.2f} C |"
            )


def cases(examples: Path) -> list[tuple[str, Sequence[Block], list[float]]]:
    """Return floorplans with the power of each block [W]."""
    ev6 = read_floorplan(examples / "example1" / "ev6.flp")
    header, *rows = (examples / "example1" / "gcc.ptrace").read_text().splitlines()
    means = np.mean([[float(text) for text in row.split()] for row in rows if row.strip()], axis=0)
    gcc = dict(zip(header.split(), means.tolist(), strict=True))
    three = read_floorplan(examples / "example3" / "floorplan1.flp")
    other = read_floorplan(examples / "example3" / "floorplan2.flp")
    drawn = np.random.default_rng(0).uniform(0.0, 4.0, len(other)).tolist()
    simulator = CpuSimulator()
    parts = breakdown_of(simulator, simulator.space.default_indices, simulator.workload("stencil"))
    core = floorplan(dict(parts["area_mm2"]))
    return [
        ("EV6, gcc", ev6, [gcc[block.name] for block in ev6]),
        ("three blocks", three, [10.0, 5.0, 20.0]),
        ("EV6, random powers", other, drawn),
        ("default core, stencil", core, [1e-3 * parts["power_mw"][block.name] for block in core]),
    ]


def read_floorplan(path: Path) -> list[Block]:
    """Return the blocks of a floorplan of HotSpot."""
    words = [line.split("#")[0].split() for line in path.read_text().splitlines()]
    return [Block(w[0], *(float(text) for text in w[1:5])) for w in words if len(w) >= 5]


def hotspot(
    folder: Path, blocks: Sequence[Block], watts: Sequence[float], model: str
) -> np.ndarray:
    """Return the steady temperature of every block that HotSpot gives [C]."""
    example = folder / "examples" / "example1"
    with tempfile.TemporaryDirectory() as made:
        work = Path(made)
        (work / "chip.flp").write_text(
            "".join(
                f"{b.name}\t{b.width:.12f}\t{b.height:.12f}\t{b.left:.12f}\t{b.bottom:.12f}\n"
                for b in blocks
            )
        )
        names = "\t".join(block.name for block in blocks)
        (work / "chip.ptrace").write_text(names + "\n" + "\t".join(map(str, watts)) + "\n")
        subprocess.run(
            [
                str(folder / "hotspot"), "-c", str(example / "example.config"), "-f", "chip.flp",
                "-p", "chip.ptrace", "-materials_file", str(example / "example.materials"),
                "-model_type", model, "-grid_rows", "64", "-grid_cols", "64",
                "-steady_file", "chip.steady", "-o", "chip.ttrace",
            ],
            cwd=work, check=True, capture_output=True,
        )  # fmt: skip
        lines = [line.split() for line in (work / "chip.steady").read_text().splitlines()]
    found = {
        words[0].removeprefix("layer_0_"): float(words[1]) for words in lines if len(words) == 2
    }
    return np.array([found[block.name] - KELVIN for block in blocks])


if __name__ == "__main__":
    main()
