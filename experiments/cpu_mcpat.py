"""Area and power of the CPU simulator's designs against McPAT 1.3 at 22 nm.

Usage: ``python experiments/cpu_mcpat.py --mcpat BINARY --template Xeon.xml [--designs N]``.

The template is McPAT's `ProcessorDescriptionFiles/Xeon.xml`, whose parameters and counts are
replaced by those of a design on `b-tree`. McPAT optimises for energy and delay, not for the clock
(`-opt_for_clk 0`), and takes powers of two only: an L1D of 12 ways gets 8. Prints area and power
of both, without memory controllers and DRAM, then the error of ours, absolute and as a ratio to the
default design. Ours are the metrics of `node=22nm`, as a search has them.
"""

import argparse
import re
import subprocess
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from archgym.simulators.cpu import CpuSimulator
from archgym.simulators.cpu.kernel.run import COUNTERS, run
from archgym.simulators.cpu.metrics import CHANNEL_MM2
from archgym.simulators.cpu.space import machine_of
from archgym.simulators.cpu.workloads.programs import load

N_INSTRUCTIONS = 80_000
CLOCK_MHZ = 4000
_TYPES = ("load", "rfo", "prefetch", "write", "translation")


def main() -> None:
    """Compare the designs and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mcpat", type=Path, required=True)
    parser.add_argument("--template", type=Path, required=True)
    parser.add_argument("--designs", type=int, default=10)
    arguments = parser.parse_args()
    simulator = CpuSimulator(node="22nm", instructions=N_INSTRUCTIONS)
    space = simulator.space
    indices = [
        space.default_indices,
        *space.sample(arguments.designs - 1, np.random.default_rng(0)),
    ]
    trace = load("b-tree").instructions(N_INSTRUCTIONS + 4096)
    rows = []
    for number, index in enumerate(indices):
        design = dict(space.design_at(index))
        if design["l1d_ways"] == 12:
            design["l1d_ways"] = 8
        machine = machine_of("default", design)
        counters = run(machine, trace, 3 * N_INSTRUCTIONS // 8, 5 * N_INSTRUCTIONS // 8)
        if counters is None:
            continue
        counts = dict(zip(COUNTERS, counters.tolist(), strict=True))
        start = time.monotonic()
        theirs = run_mcpat(arguments.mcpat, arguments.template, machine, counts)
        spent = time.monotonic() - start
        if theirs is None:
            print(f"| {number} | McPAT gave no result in {spent:.0f} s |", flush=True)
            continue
        own = ours(simulator, space.indices_of(design), int(str(design["dram_channels"])))
        rows.append((*own, *theirs))
        area, power, their_area, their_power = rows[-1]
        print(
            f"| {number} | {area:.2f} | {their_area:.2f} | {power:.2f} | {their_power:.2f} | "
            f"{spent:.1f} s |",
            flush=True,
        )
    table = np.array(rows)
    for name, column in (("area", 0), ("power", 1)):
        ratio = table[:, column] / table[:, column + 2]
        relative = ratio[1:] / ratio[0]
        print(
            f"{name}: ours over McPAT's {np.median(ratio):.2f} (median), {ratio.min():.2f} to "
            f"{ratio.max():.2f}; ratio to the default design off by "
            f"{100 * np.median(abs(relative - 1)):.0f} % (median), "
            f"{100 * abs(relative - 1).max():.0f} % at worst; rank correlation "
            f"{rank_correlation(table[:, column], table[:, column + 2]):.2f}"
        )


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Spearman's rank correlation."""
    first, second = (np.argsort(np.argsort(x)) for x in (a, b))
    return float(np.corrcoef(first, second)[0, 1])


def ours(simulator: CpuSimulator, indices: np.ndarray, channels: int) -> tuple[float, float]:
    """Return our area [mm2] and power [W] without DRAM and its channels."""
    found = simulator.evaluate_batch(indices[None], simulator.workload("b-tree")).values[0]
    row = dict(zip((spec.name for spec in simulator.metrics), found, strict=True))
    power = row["dynamic_power_mw"] + row["leakage_power_mw"]
    return row["area_mm2"] - CHANNEL_MM2 * channels, power / 1000.0


def run_mcpat(
    binary: Path, template: Path, machine: Mapping[str, int], counts: Mapping[str, int]
) -> tuple[float, float] | None:
    """Return McPAT's area [mm2] and power [W], or None where it gives no result."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "design.xml"
        describe(template, machine, counts).write(path)
        try:
            done = subprocess.run(
                [binary.absolute(), "-infile", path, "-print_level", "1", "-opt_for_clk", "0"],
                capture_output=True,
                text=True,
                timeout=300,
                cwd=folder,
            )
        except subprocess.TimeoutExpired:
            return None
    values = {}
    for name in ("Area", "Total Leakage", "Runtime Dynamic"):
        found = re.search(rf"{name} = ([0-9.e+-]+)", done.stdout)
        if found is None:
            return None
        values[name] = float(found[1])
    return values["Area"], values["Total Leakage"] + values["Runtime Dynamic"]


def describe(
    template: Path, machine: Mapping[str, int], counts: Mapping[str, int]
) -> "ET.ElementTree[ET.Element]":
    """Return the template with the parameters and counts of a design."""
    tree = ET.parse(template)
    components = {c.get("id", ""): c for c in tree.iter("component")}

    def enter(component: str, **values: object) -> None:
        for child in components[component]:
            if child.tag in ("param", "stat") and child.get("name") in values:
                child.set("value", str(values[child.get("name", "")]))

    cpu = {name.removeprefix("CPU."): v for name, v in machine.items() if name.startswith("CPU.")}
    n, cycles = counts["instructions"], counts["cycles"]
    loads, stores = counts["CPU_loads"], counts["CPU_stores"]
    branches = sum(v for name, v in counts.items() if name.startswith("br_"))
    missed = sum(v for name, v in counts.items() if name.startswith("mp_"))
    time_of = {"total_cycles": cycles, "idle_cycles": 0, "busy_cycles": cycles}
    enter(
        "system",
        number_of_cores=1,
        number_of_NoCs=0,
        core_tech_node=22,
        target_core_clockrate=CLOCK_MHZ,
        power_gating=0,
        **time_of,
    )
    enter(
        "system.core0",
        clock_rate=CLOCK_MHZ,
        vdd=0,
        number_hardware_threads=1,
        fetch_width=cpu["fetch_width"],
        decode_width=cpu["decode_width"],
        issue_width=cpu["dispatch_width"],
        peak_issue_width=cpu["execute_width"],
        commit_width=cpu["retire_width"],
        ALU_per_core=cpu["execute_width"],
        instruction_window_size=cpu["scheduler"],
        fp_instruction_window_size=1,
        ROB_size=cpu["rob"],
        phy_Regs_IRF_size=cpu["registers"],
        phy_Regs_FRF_size=cpu["registers"],
        store_buffer_size=cpu["sq"],
        load_buffer_size=cpu["lq"],
        memory_ports=cpu["lq_width"],
        instruction_buffer_size=cpu["ifetch_buffer"],
        LSU_order="out_of_order",
        number_of_BPT=1,
        number_of_BTB=1,
        total_instructions=n,
        int_instructions=n - branches - loads - stores,
        fp_instructions=0,
        branch_instructions=branches,
        branch_mispredictions=missed,
        load_instructions=loads,
        store_instructions=stores,
        committed_instructions=n,
        committed_int_instructions=n,
        committed_fp_instructions=0,
        ROB_reads=n,
        ROB_writes=n,
        rename_reads=counts["CPU_sources"],
        rename_writes=counts["CPU_destinations"],
        fp_rename_reads=0,
        fp_rename_writes=0,
        inst_window_reads=n,
        inst_window_writes=n,
        inst_window_wakeup_accesses=counts["CPU_destinations"],
        fp_inst_window_reads=0,
        fp_inst_window_writes=0,
        fp_inst_window_wakeup_accesses=0,
        int_regfile_reads=counts["CPU_sources"],
        int_regfile_writes=counts["CPU_destinations"],
        float_regfile_reads=0,
        float_regfile_writes=0,
        ialu_accesses=n,
        fpu_accesses=0,
        mul_accesses=0,
        cdb_alu_accesses=counts["CPU_destinations"],
        cdb_mul_accesses=0,
        cdb_fpu_accesses=0,
        **time_of,
    )
    for tlb in ("ITLB", "DTLB"):
        enter(
            f"system.core0.{tlb.lower()}",
            number_entries=machine[f"{tlb}.sets"] * machine[f"{tlb}.ways"],
            total_accesses=looked_up(counts, tlb),
            total_misses=missed_of(counts, tlb),
        )
    for cache, component, key in (
        ("L1I", "system.core0.icache", "icache_config"),
        ("L1D", "system.core0.dcache", "dcache_config"),
        ("L2C", "system.L20", "L2_config"),
        ("LLC", "system.L30", "L3_config"),
    ):
        size = 64 * machine[f"{cache}.sets"] * machine[f"{cache}.ways"]
        latency = machine[f"{cache}.hit_latency"] + machine[f"{cache}.fill_latency"]
        buffers = [machine[f"{cache}.mshr"], machine[f"{cache}.mshr"]]
        buffers += [max(1, machine[f"{cache}.pq"]), machine[f"{cache}.wq"]]
        writes = counts[f"{cache}_write_hit"] + counts[f"{cache}_write_miss"]
        values: dict[str, object] = {
            key: f"{size},64,{machine[f'{cache}.ways']},1,1,{latency},64,1",
            "buffer_sizes": ",".join(str(b) for b in buffers),
            "clockrate": CLOCK_MHZ,
            "read_accesses": looked_up(counts, cache) - writes,
            "write_accesses": writes,
            "read_misses": missed_of(counts, cache) - counts[f"{cache}_write_miss"],
            "write_misses": counts[f"{cache}_write_miss"],
        }
        enter(component, **values)
    enter("system.core0.BTB", BTB_config="65536,8,8,1,1,3", read_accesses=n, write_accesses=missed)
    return tree


def looked_up(counts: Mapping[str, int], cache: str) -> int:
    """Return the look-ups of a cache."""
    return sum(counts[f"{cache}_{kind}_hit"] for kind in _TYPES) + missed_of(counts, cache)


def missed_of(counts: Mapping[str, int], cache: str) -> int:
    """Return the misses of a cache."""
    return sum(counts[f"{cache}_{kind}_miss"] for kind in _TYPES)


if __name__ == "__main__":
    main()
