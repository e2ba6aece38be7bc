"""Arrays of CACTI 7: rows for our table, and errors of what is interpolated and scaled.

    python experiments/cacti_arrays.py --cacti FOLDER --rows   # rows of `physics/data/arrays.csv`
    python experiments/cacti_arrays.py --cacti FOLDER               # errors on sizes left out

FOLDER holds CACTI 7 (github.com/HewlettPackard/cacti, commit 1ffd8df), built with its makefile. Its
`cache.cfg` is used with other sizes, 22 nm, 360 K and its devices of high performance.
"""

import argparse
import csv
import itertools
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from archgym.physics.arrays import Cells, cells

# Sizes in KiB: of RAMs with words of 16 bytes, and of caches with lines of 64 bytes.
RAM_KIB, RAM_PORTS = (1, 4, 16, 64, 256, 1024, 4096, 16384), (1, 2)
CACHE_KIB, WAYS, PORTS = (32, 128, 512, 2048, 8192), (1, 2, 4, 8, 16), (1, 2)


def run(folder: Path, kib: int, ways: int, ports: int, um: float, is_ram: bool) -> list[float]:
    """Return access time [ns], read and write energy [nJ], leakage [mW] and area [mm2]."""
    text = (folder / "cache.cfg").read_text()
    line = 16 if is_ram else 64
    for name, value in (
        ("size (bytes)", 1024 * kib), ("block size (bytes)", line), ("associativity", ways),
        ("read-write port", ports), ("technology (u)", um), ("cache type", None),
        ("output/input bus width", 8 * line), ("operating temperature (K)", 360),
    ):  # fmt: skip
        pattern = rf"(?m)^-{re.escape(name)}\s.*$"
        new = (
            f'-cache type "{"ram" if is_ram else "cache"}"' if value is None else f"-{name} {value}"
        )
        text = re.sub(pattern, new, text)
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as file:
        file.write(text)
        file.flush()
        printed = subprocess.run(
            ["./cacti", "-infile", file.name],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def number(pattern: str) -> float:
        found = re.search(pattern + r"[^:]*:\s*([-\d.e+]+)", printed)
        if found is None:
            raise ValueError(f"CACTI gives no {pattern!r}:\n{printed[-500:]}")
        return float(found[1])

    # The leakage of a cache is that of its bank, tags included.
    sizes = re.search(r"Cache height x width \(mm\):\s*([\d.]+) x ([\d.]+)", printed)
    assert sizes is not None, printed[-500:]
    return [
        number(r"Access time \(ns\)"), number(r"Total dynamic read energy per access \(nJ\)"),
        number(r"Total dynamic write energy per access \(nJ\)"),
        number(r"Total leakage power of a bank"), float(sizes[1]) * float(sizes[2]),
    ]  # fmt: skip


def rows(folder: Path) -> Iterator[list[str | float]]:
    """Yield rows of the package's table."""
    for is_ram, grid in (
        (True, itertools.product(RAM_KIB, (1,), RAM_PORTS)),
        (False, itertools.product(CACHE_KIB, WAYS, PORTS)),
    ):
        for kib, ways, ports in grid:
            ns, read, write, leakage, area = run(folder, kib, ways, ports, 0.022, is_ram)
            sizes: list[str | float] = ["cache", kib, ways, ports]
            if is_ram:
                sizes = ["ram", kib, ports, ""]
            values = (area, 1e3 * read, 1e3 * write, 0.0, leakage, ns, 0.0, 0.0)
            yield [*sizes, *(f"{value:.6g}" for value in values)]


def compare(folder: Path) -> None:
    """Print errors on sizes that the table lacks, and of nodes scaled from 22 nm."""
    left_out = [
        ("ram", kib, 1, ports) for kib, ports in itertools.product((2, 8, 32, 512, 2048), (1, 2))
    ] + [
        ("cache", kib, ways, ports)
        for kib, ways, ports in itertools.product((64, 256, 1024, 4096), (2, 8), (1, 2))
    ]
    for kind in ("ram", "cache"):
        errors = []
        for name, kib, ways, ports in left_out:
            if name != kind:
                continue
            ns, read, write, leakage, area = run(folder, kib, ways, ports, 0.022, kind == "ram")
            found = cells(kind, kib, ports) if kind == "ram" else cells(kind, kib, ways, ports)
            errors.append(_errors(found, (area, 1e3 * read, 1e3 * write, leakage, ns)))
            print(kind, kib, ways, ports, *(f"{100 * e:+.1f}" for e in errors[-1]), flush=True)
        sizes = np.abs(errors)
        print(kind, "median %", *(f"{100 * e:.1f}" for e in np.median(sizes, axis=0)))
        print(kind, "worst %", *(f"{100 * e:.1f}" for e in sizes.max(axis=0)))

    for um in (0.032, 0.045, 0.065):
        ratios = []
        for kib in (4, 32, 256, 2048):
            old, new = (np.array(run(folder, kib, 1, 1, x, True)) for x in (um, 0.022))
            ratios.append(old / new)
        print(f"{1e3 * um:g} nm over 22 nm:", *np.round(np.median(ratios, axis=0), 2))


def _errors(found: Cells, truth: tuple[float, ...]) -> list[float]:
    own = (found.area_mm2, found.read_pj, found.write_pj, found.leakage_mw, found.access_ns)
    return [a / b - 1.0 for a, b in zip(own, truth, strict=True)]


def main() -> None:
    """Print what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cacti", type=Path, required=True)
    parser.add_argument("--rows", action="store_true")
    given = parser.parse_args()
    if given.rows:
        writer = csv.writer(sys.stdout)
        for row in rows(given.cacti):
            writer.writerow(row)
            sys.stdout.flush()
    else:
        compare(given.cacti)


if __name__ == "__main__":
    main()
