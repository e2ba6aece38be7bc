"""Areas of five published cores next to the structural model, stated and not fitted.

Usage: ``python experiments/die_areas.py``. A core is the nearest design of the default space: sizes
of its structures are published, ports and widths are rounded to values that the space has. The
model has integer units of 2008 and two scalar floating-point units, and no vector units, no uncore
and no clock tree of the whole chip. Areas are a core with its L2 and its share of the L3, without
DRAM.

Sources: Skylake and Zen, AMD's comparison of four cores with 8 MiB of L3 at ISSCC 2017 (T. Singh et
al., 3.2): 49 and 44 mm2. Skylake-X, 17 mm2 measured on the die photograph by Chip-Architect, 2017.
Zen 2, 31.3 mm2 for four cores with 16 MiB of L3 (AMD, 2019; ISSCC 2020, 2.1). Zen 4, 3.84 mm2 with
L2 and without L3 (AMD, 2023; T. Burd et al., ISSCC 2024, 2.2, has the ratio to Zen 4c).
"""

from typing import Any

from archgym.evaluation.capabilities import breakdown_of
from archgym.simulators.cpu import CpuSimulator

CORES: dict[str, tuple[str, float, bool, dict[str, Any]]] = {
    "Skylake": ("14nm", 49.0 / 4, True, {
        "rob": 224, "scheduler": 96, "load_queue": 64, "store_queue": 72, "registers": 192,
        "fetch_width": 6, "decode_width": 4, "dispatch_width": 4, "execute_width": 4,
        "retire_width": 5, "l1i_sets": 64, "l1i_ways": 8, "l1d_sets": 64, "l1d_ways": 8,
        "l2_sets": 512, "l2_ways": 8, "llc_sets": 2048, "llc_ways": 16,
    }),
    "Skylake-X": ("14nm", 17.0, True, {
        "rob": 224, "scheduler": 96, "load_queue": 64, "store_queue": 72, "registers": 192,
        "fetch_width": 6, "decode_width": 4, "dispatch_width": 4, "execute_width": 4,
        "retire_width": 5, "l1i_sets": 64, "l1i_ways": 8, "l1d_sets": 64, "l1d_ways": 8,
        "l2_sets": 1024, "l2_ways": 16, "llc_sets": 1024, "llc_ways": 16,
    }),
    "Zen": ("14nm", 44.0 / 4, True, {
        "rob": 224, "scheduler": 96, "load_queue": 64, "store_queue": 32, "registers": 192,
        "fetch_width": 6, "decode_width": 4, "dispatch_width": 6, "execute_width": 4,
        "retire_width": 8, "l1i_sets": 128, "l1i_ways": 8, "l1d_sets": 64, "l1d_ways": 8,
        "l2_sets": 1024, "l2_ways": 8, "llc_sets": 2048, "llc_ways": 16,
    }),
    "Zen 2": ("7nm", 31.3 / 4, True, {
        "rob": 224, "scheduler": 96, "load_queue": 64, "store_queue": 32, "registers": 192,
        "fetch_width": 6, "decode_width": 4, "dispatch_width": 6, "execute_width": 4,
        "retire_width": 8, "l1i_sets": 64, "l1i_ways": 8, "l1d_sets": 64, "l1d_ways": 8,
        "l2_sets": 1024, "l2_ways": 8, "llc_sets": 4096, "llc_ways": 16,
    }),
    "Zen 4": ("5nm", 3.84, False, {
        "rob": 352, "scheduler": 96, "load_queue": 128, "store_queue": 72, "registers": 256,
        "fetch_width": 6, "decode_width": 4, "dispatch_width": 6, "execute_width": 4,
        "retire_width": 8, "l1i_sets": 64, "l1i_ways": 8, "l1d_sets": 64, "l1d_ways": 8,
        "l2_sets": 2048, "l2_ways": 8,
    }),
}  # fmt: skip
"""Node, published area [mm2], True if it has the share of the L3, and the design."""


def main() -> None:
    """Print the table."""
    print("| core | node | published, mm2 | here, mm2 | here over published | largest parts |")
    print("|---|---|---:|---:|---:|---|")
    for name, (node, published, has_l3, sizes) in CORES.items():
        simulator = CpuSimulator(node=node)
        space = simulator.space
        design = {**space.design_at(space.default_indices), **sizes}
        parts = dict(breakdown_of(simulator, space.indices_of(design), None)["area_mm2"])
        parts.pop("dram-channels")
        if not has_l3:
            parts.pop("llc")
        area = sum(parts.values())
        largest = sorted(parts, key=lambda part: -parts[part])[:3]
        texts = ", ".join(f"{part} {parts[part]:.2f}" for part in largest)
        print(
            f"| {name} | {node} | {published:.2f} | {area:.2f} | {area / published:.2f} | {texts} |"
        )


if __name__ == "__main__":
    main()
