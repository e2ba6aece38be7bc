"""Table of the memory arrays that CPU designs have, from logs of McPAT.

Usage: ``python experiments/cpu_arrays.py LOG... > archgym/physics/data/arrays.csv``.

McPAT 1.3 (commit 74d4759) is made to print a line for each array that it optimises, at the end of
`ArrayST::optimize_array`: ``ARR``, then, after bars, its name, six counts of size and ports, the
width that is read, the mode of access, the width of a tag; area [um2], energies of a read, a write
and a search [J], leakage of fast and of long-channel devices, of gates [W], times of access and
cycle [s], height [um], and energy of a tag's read [J]. A log has a line of JSON for each run:
``{"design": {...}, "err": "..."}``, with the design that `cpu_mcpat.describe` gave to McPAT and
what it printed. Designs are chosen so that every pair of sizes that an array has occurs once.
"""

import csv
import itertools
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

# Name in McPAT: name in the table, and the parameters that size the array.
ARRAYS = {
    "icache": ("l1i", ("l1i_sets", "l1i_ways")),
    "icacheMissBuffer": ("l1i-miss", ("l1i_mshr",)),
    "icacheFillBuffer": ("l1i-fill", ("l1i_mshr",)),
    "icacheprefetchBuffer": ("l1i-prefetch", ()),
    "InstBuffer": ("fetch-buffer", ("ifetch_buffer", "execute_width")),
    "Branch Target Buffer": ("targets", ()),
    "RAS": ("return-stack", ()),
    "Int FrontRAT": ("rename-front", ("decode_width",)),
    "Int RetireRAT": ("rename-retire", ("retire_width",)),
    "Int Free List": ("free-list", ("decode_width", "retire_width")),
    "FP FrontRAT": ("fp-rename-front", ()),
    "FP RetireRAT": ("fp-rename-retire", ()),
    "FP Free List": ("fp-free-list", ()),
    "dcache": ("l1d", ("l1d_sets", "l1d_ways", "load_width")),
    "dcacheMissBuffer": ("l1d-miss", ("l1d_mshr", "load_width")),
    "dcacheFillBuffer": ("l1d-fill", ("l1d_mshr", "load_width")),
    "dcacheprefetchBuffer": ("l1d-prefetch", ("load_width",)),
    "dcacheWBB": ("l1d-write-back", ("l1d_queue", "load_width")),
    "LoadQueue": ("load-queue", ("load_queue", "load_width")),
    "Load(Store)Queue": ("store-queue", ("store_queue", "load_width")),
    "ITLB": ("itlb", ("itlb_sets",)),
    "DTLB": ("dtlb", ("dtlb_sets", "load_width")),
    "Integer Register File": ("registers", ("registers", "execute_width")),
    "Floating point Register File": ("fp-registers", ("registers", "dispatch_width")),
    "InstIssueQueue": ("scheduler", ("scheduler", "execute_width")),
    "FPIssueQueue": ("fp-scheduler", ()),
    "ReorderBuffer": ("rob", ("rob", "execute_width")),
    "L2cache": ("l2", ("l2_sets", "l2_ways")),
    "L2MissB": ("l2-miss", ("l2_mshr",)),
    "L2FillB": ("l2-fill", ("l2_mshr",)),
    "L2PrefetchB": ("l2-prefetch", ()),
    "L2WBB": ("l2-write-back", ()),
    "L3cache": ("llc", ("llc_sets", "llc_ways")),
    "L3MissB": ("llc-miss", ("llc_mshr",)),
    "L3FillB": ("llc-fill", ("llc_mshr",)),
    "L3PrefetchB": ("llc-prefetch", ()),
    "L3WBB": ("llc-write-back", ()),
}
COLUMNS = (
    "area_mm2", "read_pj", "write_pj", "search_pj", "leakage_mw", "access_ns", "tag_pj",
    "height_um",
)  # fmt: skip
Found = dict[tuple[str, tuple[int, ...]], tuple[float, ...]]


def read_logs(paths: Iterable[Path]) -> Found:
    """Return the values of each array, by its name in the table and its sizes."""
    found: Found = {}
    for path in paths:
        for line in path.read_text().splitlines():
            run = json.loads(line)
            for printed in run["err"].splitlines():
                parts = printed.split("|")
                if parts[0] != "ARR" or parts[1] not in ARRAYS:
                    continue
                name, parameters = ARRAYS[parts[1]]
                sizes = tuple(int(run["design"][parameter]) for parameter in parameters)
                area, read, write, search, _, leak, gate, access, _, height, tag = map(
                    float, parts[12:]
                )
                energies = (1e12 * read, 1e12 * write, 1e12 * search)
                values = (1e-6 * area, *energies, 1e3 * (leak + gate), 1e9 * access, 1e12 * tag)
                found.setdefault((name, sizes), (*values, height))
    return found


def main() -> None:
    """Print the table; an array of the grid that no run had is an error."""
    found = read_logs(map(Path, sys.argv[1:]))
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("structure", "size_1", "size_2", "size_3", *COLUMNS))
    for name, parameters in ARRAYS.values():
        known = [sizes for of, sizes in found if of == name]
        axes = [sorted({sizes[i] for sizes in known}) for i in range(len(parameters))]
        for sizes in itertools.product(*axes):
            cells = [str(size) for size in sizes] + [""] * (3 - len(sizes))
            writer.writerow((name, *cells, *(f"{x:.6g}" for x in np.array(found[name, sizes]))))


if __name__ == "__main__":
    main()
