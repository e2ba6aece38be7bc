"""Machines as configurations of ChampSim, commit 2ff2501 (`champsim_config.json`).

The keys are those of ChampSim's `config` package: widths, buffers and latencies of the core, the
decoded-instruction buffer (`DIB`), caches, TLBs, the page walker (`PTW`) and DRAM.
"""

import base64
import json
import lzma
from collections.abc import Mapping
from importlib import resources
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from archgym.simulators.cpu.machine import (
    CHAMPSIM_PREDICTORS,
    DEFAULTS,
    NOMINAL_MHZ,
    PREDICTORS,
    REPLACEMENTS,
    Machine,
    cycle_ps,
)
from archgym.simulators.kit import InvalidDesignError
from archgym.simulators.kit.exports import Number, Tool, folder, rounding

_CORE: Final = {
    "ifetch_buffer": "ifetch_buffer_size", "decode_buffer": "decode_buffer_size",
    "dispatch_buffer": "dispatch_buffer_size", "registers": "register_file_size", "rob": "rob_size",
    "lq": "lq_size", "sq": "sq_size", "fetch_width": "fetch_width", "decode_width": "decode_width",
    "dispatch_width": "dispatch_width", "execute_width": "execute_width", "lq_width": "lq_width",
    "sq_width": "sq_width", "retire_width": "retire_width",
    "mispredict_penalty": "mispredict_penalty", "scheduler": "scheduler_size",
    "decode_latency": "decode_latency", "dispatch_latency": "dispatch_latency",
    "schedule_latency": "schedule_latency", "execute_latency": "execute_latency",
    "dib_hit_latency": "dib_hit_latency",
}  # fmt: skip
_DIB: Final = {
    "dib_window": "window_size", "dib_sets": "sets", "dib_ways": "ways",
    "dib_hit_buffer": "hit_buffer_size", "dib_inorder_width": "inorder_width",
}  # fmt: skip
_CACHE: Final = {
    "sets": "sets", "ways": "ways", "rq": "rq_size", "wq": "wq_size", "pq": "pq_size",
    "mshr": "mshr_size", "hit_latency": "hit_latency", "fill_latency": "fill_latency",
    "tag_bw": "max_tag_check", "fill_bw": "max_fill",
}  # fmt: skip
_WALKER: Final = {
    "rq": "rq_size", "mshr": "mshr_size", "max_read": "max_read", "max_write": "max_write",
}  # fmt: skip
_MEMORY: Final = {
    "data_rate": "data_rate", "channels": "channels", "ranks": "ranks", "bankgroups": "bankgroups",
    "banks": "banks", "rows": "bank_rows", "columns": "bank_columns", "wq": "wq_size",
    "rq": "rq_size", "tCAS": "tCAS", "tRCD": "tRCD", "tRP": "tRP", "tRAS": "tRAS",
    "refresh_ms": "refresh_period", "refreshes": "refreshes_per_period",
}  # fmt: skip
# Modules of ChampSim by the number of the parameter.
_PREFETCHERS: Final = ("no", "next_line", "ip_stride")
_TLBS: Final = ("ITLB", "DTLB", "STLB")
# Modules of ours, since ChampSim's own never hear of fills.
_OWN: Final = "archgym_"
_SHIPPED: Final = "-as-shipped"
_COUNTED: Final = "Region of Interest Statistics"
# Names of ChampSim's caches in its output, by the metric of demand misses.
_MISSES: Final = {
    "l1i_mpki": "L1I", "l1d_mpki": "L1D", "l2_mpki": "L2C", "llc_mpki": "LLC",
    "itlb_mpki": "ITLB", "dtlb_mpki": "DTLB", "stlb_mpki": "STLB",
}  # fmt: skip
_DIGITS: Final = 4
_NOT_COUNTED: Final = (
    "ChampSim's warm-up takes a cycle even without instructions, so that it counts one less."
)
# The configuration script has no keys for these; `inc/defaults.hpp` has them.
_NOT_READ: Final = ("CPU.dib_hit_buffer", "CPU.dib_inorder_width", "CPU.dib_hit_latency")
CHAMPSIM: Final = Tool(
    name="ChampSim",
    release="commit 2ff2501",
    get="git clone https://github.com/ChampSim/ChampSim, and prepare it as its README says "
    "(vcpkg); its place is the folder ChampSim.",
    program="config.sh",
)
# ChampSim's main program is compiled for each configuration, in a folder of links to its sources,
# which keeps objects for the next design. One run at a time uses it.
_COMMAND: Final = """\
here=$PWD
home=$(dirname -- "$tool")
base64 -d trace.base64 > trace.champsimtrace.xz
log=$here/build.log
key=$(printf %s "$home" | cksum | cut -d' ' -f1)
build=${{XDG_CACHE_HOME:-${{HOME:-$here}}/.cache}}/archgym/champsim-$key
mkdir -p "${{build%/*}}"
compile() {{
  mkdir -p "$build" && cp -rsn "$home/." "$build" && cd "$build" || return 1
  rm -f _configuration.mk bin/champsim
  cp -r "$here/modules" . || return 1
  ./config.sh --makedir "$PWD" --replacement-dir "$PWD/modules" "$here/champsim_config.json" &&
    make -j2 &&
    cp bin/champsim "$here/champsim"
}}
(
  flock 9
  (compile) || {{ rm -rf "$build"; (compile); }}
) > "$log" 2>&1 9> "$build.lock" || {{ tail -n 5 "$log" >&2; exit 1; }}
./champsim --hide-heartbeat -w {warmup} -i {length} trace.champsimtrace.xz
"""
_BLOCK_BYTES, _PAGE_BYTES, _CHANNEL_BYTES = 64, 4096, 8
_PAGE_LEVELS: Final = 5


def champsim_files(
    machine: Machine,
    records: npt.NDArray[np.void],
    warmup: int,
    length: int,
    metrics: Mapping[str, float],
) -> dict[str, str | bytes]:
    """Return ChampSim's configuration of a machine, and the trace that it runs.

    Args:
      machine: Every parameter by full name, as from `parameters.machine`.
      records: Records of the trace.
      warmup: Instructions before those that count.
      length: Instructions that count.
      metrics: Metrics of the design.

    Raises:
      InvalidDesignError: ChampSim has a parameter otherwise; the message names it.
    """
    for name in _NOT_READ:
        if machine[name] != DEFAULTS[name]:
            raise InvalidDesignError(
                f"ChampSim's configuration script has no key for {name}, which is fixed at "
                f"{DEFAULTS[name]}; the design has {machine[name]}."
            )
    predictor = PREDICTORS[machine["CPU.branch_predictor"]]
    if predictor not in CHAMPSIM_PREDICTORS:
        raise InvalidDesignError(
            f"`branch_predictor` must be one of ChampSim's, {', '.join(CHAMPSIM_PREDICTORS)}; "
            f"got {predictor}."
        )
    trace = base64.encodebytes(lzma.compress(records.tobytes(), preset=6)).decode()
    files = {
        "champsim_config.json": json.dumps(champsim_config(machine), indent=4) + "\n",
        "trace.base64": trace,
        **_modules(),
    }
    command = _COMMAND.format(warmup=warmup, length=length).rstrip("\n")
    return folder(
        CHAMPSIM, files, command, _numbers(metrics, warmup),
        differences=[
            "ChampSim has no area, energy or power.",
            "ChampSim's modules of SRRIP, DRRIP and SHiP never hear of fills (commit 2ff2501), so "
            "that they are other policies. `modules` has those of the design.",
            *([] if warmup else [_NOT_COUNTED]),
        ],
    )  # fmt: skip


def _numbers(metrics: Mapping[str, float], warmup: int) -> list[Number]:
    """Return cycles, mispredictions and demand misses, with their places in ChampSim's output."""
    cycles, branches = metrics["total_cycles"], metrics["branch_mpki"]
    # The last instructions retire together, so that a few more than asked for may count.
    kilo = round(metrics["ipc"] * cycles) / 1000.0
    return [
        Number(
            metric="total_cycles", value=cycles, unit="cycles", tolerance=0.0 if warmup else 1.0,
            after=(_COUNTED, "cumulative IPC:", "cycles:"),
        ),
        Number(
            metric="branch_mpki", value=branches, unit="misses/kinstruction",
            tolerance=rounding(branches, _DIGITS), after=(_COUNTED, "Accuracy:", "MPKI:"),
        ),
        *(
            Number(
                metric=metric, value=metrics[metric], unit="misses", scale=kilo,
                after=(_COUNTED, f"{name} TOTAL", "MISS:"),
                less=(_COUNTED, f"{name} PREFETCH ", "MISS:"),
            )
            for metric, name in _MISSES.items()
            # ChampSim leaves out caches that nothing accessed.
            if metrics[metric]
        ),
    ]  # fmt: skip


def _modules() -> dict[str, str]:
    """Return the replacement policies that ChampSim has otherwise, as headers by path."""
    place = resources.files("archgym.simulators.cpu") / "data" / "champsim"
    return {
        f"modules/{file.name.removesuffix('.h')}/{file.name}": file.read_text("utf-8")
        for file in sorted(place.iterdir(), key=lambda each: each.name)
    }


def champsim_config(machine: Machine) -> dict[str, Any]:
    """Return ChampSim's configuration of a machine.

    Args:
      machine: Every parameter by full name.
    """

    def section(name: str, keys: Mapping[str, str]) -> dict[str, Any]:
        return {key: machine[f"{name}.{ours}"] for ours, key in keys.items()}

    predictor = PREDICTORS[machine["CPU.branch_predictor"]].replace("-", "_")
    clock_mhz = machine.get("CPU.clock_mhz", NOMINAL_MHZ)
    core = {"frequency": clock_mhz, **section("CPU", _CORE)}
    core |= {"branch_predictor": predictor, "btb": "basic_btb"}
    config: dict[str, Any] = {
        "executable_name": "champsim",
        "block_size": _BLOCK_BYTES,
        "page_size": _PAGE_BYTES,
        "heartbeat_frequency": 10_000_000,
        "num_cores": 1,
        "ooo_cpu": [core],
        "DIB": section("CPU", _DIB),
    }
    for name in ("L1I", "L1D", "L2C", "LLC", *_TLBS):
        config[name] = {**section(name, _CACHE), "prefetch_as_load": False}
        config[name]["replacement"] = _replacement(name, machine)
        if name in _TLBS:
            continue
        config[name]["prefetcher"] = _PREFETCHERS[machine[f"{name}.prefetcher"]]
        config[name]["virtual_prefetch"] = name == "L1I"
        config[name]["prefetch_activate"] = "LOAD,PREFETCH"
    config["PTW"] = section("PTW", _WALKER)
    memory = section("DRAM", _MEMORY)
    config["physical_memory"] = {**memory, "channel_width": _CHANNEL_BYTES}
    config["virtual_memory"] = {
        "pte_page_size": _PAGE_BYTES,
        "num_levels": _PAGE_LEVELS,
        # In cycles of the fastest clock, which may be the memory's.
        "minor_fault_penalty": machine["VMEM.fault_penalty"]
        * cycle_ps(machine)
        // min(cycle_ps(machine), 2_000_000 // machine["DRAM.data_rate"]),
        # Physical pages are given out in order.
        "randomization": False,
    }
    return config


def _replacement(name: str, machine: Machine) -> str:
    """Return ChampSim's module of a cache's replacement policy, or ours where it is another one."""
    policy = REPLACEMENTS[machine[f"{name}.replacement"]]
    shipped = policy.removesuffix(_SHIPPED)
    return policy if policy == "lru" else shipped if shipped != policy else f"{_OWN}{policy}"
