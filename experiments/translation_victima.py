"""Victima, POM-TLB and large TLBs on programs with 6 to 8 GB, with the published figures.

Run it as `python -m experiments.translation_victima [PARTS]`. Each program is generated in PARTS
(64 by default) parts of 262,144 records, of which the first 30 % are warm-up, and streamed: the
table ends with the memory that the process took. The published figures are geometric means over
eleven programs of 0.6 to 33 GB in another simulator (MICRO 2023), so only their order and size
compare.
"""

import math
import resource
import sys
import time
from functools import partial

from archgym.simulators.translation.layout import Memory
from archgym.simulators.translation.machine import CORES
from archgym.simulators.translation.workloads import load
from archgym.traces.large import LARGE, large_parts
from evidence.translation.trends import LARGE_DESIGNS, Trial, tried

# Gain over radix [%], as published.
PUBLISHED = {
    "victima": "+7.4",
    "pom_tlb": "+1.2",
    "l2 tlb 64K": "",
    "l2 tlb 64K real": "+0.8",
    "l2 tlb 128K": "+7.4 (as Victima)",
    "l3 tlb": "+2.9",
    "perfect": "",
}


def main() -> None:
    """Print the table."""
    n_parts = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    started = time.process_time()
    found: dict[str, dict[str, Trial]] = {}
    for name in LARGE:
        parts = partial(large_parts, name, n_parts)
        found[name] = tried(parts, LARGE_DESIGNS, Memory(), mlp=load(name).mlp)
        radix = found[name]["radix"]
        print(
            f"{name}: {radix.l2_tlb_mpki:.1f} misses of the L2 TLB per thousand instructions, mean "
            f"walk {radix.mean_walk_cycles:.0f} cycles, waiting for translation "
            f"{100 * radix.count('translation_stall_cycles') / radix.cycles:.0f} %",
            flush=True,
        )
    designs = [name for name in LARGE_DESIGNS if name != "radix"]
    print(f"\n{'gain over radix [%]':18}" + "".join(f"{name:>17}" for name in designs))
    for name, trials in found.items():
        cells = [100 * (trials["radix"].cycles / trials[d].cycles - 1) for d in designs]
        print(f"{name:18}" + "".join(f"{cell:>+17.2f}" for cell in cells))
    means = []
    for design in designs:
        logs = [math.log(t["radix"].cycles / t[design].cycles) for t in found.values()]
        means.append(100 * (math.exp(sum(logs) / len(logs)) - 1))
    print(f"{'geometric mean':18}" + "".join(f"{cell:>+17.2f}" for cell in means))
    print(f"{'published':18}" + "".join(f"{PUBLISHED[d]:>17}" for d in designs))
    print(f"\n{'walks, change [%]':18}" + "".join(f"{name:>17}" for name in designs[:-1]))
    for name, trials in found.items():
        walks = [100 * (trials[d].walks / trials["radix"].walks - 1) for d in designs[:-1]]
        print(f"{name:18}" + "".join(f"{cell:>+17.1f}" for cell in walks))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"\n{CORES['out-of-order']}\n{n_parts * 0.262144:.1f} million records a program; peak "
        f"memory {peak:.2f} GB; {time.process_time() - started:.0f} s CPU"
    )


if __name__ == "__main__":
    main()
