"""Clusters as inputs of ASTRA-sim 2 (github.com/astra-sim/astra-sim).

A network (YAML of the analytical back end), a system and a memory (JSON), the iteration as Chakra
traces, and the command that takes them.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from archgym.simulators.cluster.formats.chakra import traces
from archgym.simulators.cluster.machine.design import Built
from archgym.simulators.cluster.machine.system import COLLECTIVES, System
from archgym.simulators.kit import InvalidDesignError
from archgym.simulators.kit.exports import Number, Tool, folder

TRACE: Final = "iteration"
SPREAD: Final = "archgym"
_MEMORY: Final = {"memory-type": "NO_MEMORY_EXPANSION"}
# Parameters that unmodified ASTRA-sim fixes, with the value that it has.
FIXED: Final = {"intra": "FIFO", "inter": "Ascending", "inflight": 1}


def astra_sim_settings(
    system: System, efficiency: float, spread: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return the content of the files on network, system and memory, and the command's options.

    Args:
      system: System of a design.
      efficiency: Part of the peak that products reach.
      spread: Parameters of the design that only the traces express; ASTRA-sim does not read them.
    """
    content = {**_system(system, efficiency), SPREAD: spread}
    return {
        "network.yml": _network(system), "system.json": content, "memory.json": _MEMORY,
        "--": _options(system),
    }  # fmt: skip


def _options(system: System) -> dict[str, Any]:
    return {
        "workload-configuration": TRACE, "system-configuration": "system.json",
        "network-configuration": "network.yml", "remote-memory-configuration": "memory.json",
        "num-queues-per-dim": system.queues,
    }  # fmt: skip


def astra_sim_files(
    built: Built, spread: Mapping[str, Any], time_ms: float, shared_ms: float | None = None
) -> dict[str, str | bytes]:
    """Return a cluster and its iteration as ASTRA-sim reads them.

    Args:
      built: A design that can run, on a network that ASTRA-sim has.
      spread: As `astra_sim_settings` takes it.
      time_ms: Time of the iteration on that network [ms].
      shared_ms: Time that the design's own fidelity states, where its messages share links [ms].

    Raises:
      InvalidDesignError: ASTRA-sim fixes a parameter that the design sets otherwise, or lacks it.
    """
    system = built.system
    _check(system)
    if built.parallelism.pp == 1 < built.parallelism.interleave:
        raise InvalidDesignError(
            "With one stage, parts of the layers follow each other on one NPU, and ASTRA-sim 2 "
            "aborts on messages to itself. Set `interleave` to 1."
        )
    made = traces(built)
    settings = astra_sim_settings(system, built.parallelism.efficiency, spread)
    network = settings["network.yml"].items()
    files: dict[str, str | bytes] = {
        "network.yml": "".join(f"{name}: {json.dumps(row)}\n" for name, row in network),
        "system.json": _text(settings["system.json"]),
        "memory.json": _text(_MEMORY),
        **{f"{TRACE}.{npu}.et": content for npu, content in enumerate(made)},
    }
    kind = "Aware" if system.backend == "aware" else "Unaware"
    program = f"AstraSim_Analytical_Congestion_{kind}"
    tool = Tool(
        name="ASTRA-sim",
        release="2.2.0, commit 518bd51",
        get="git clone --recursive https://github.com/astra-sim/astra-sim, check out 518bd51 and "
        "run build/astra_analytical/build.sh; its place is the folder astra-sim.",
        program=program,
        inside=f"build/astra_analytical/build/bin/{program}",
    )
    number = Number(
        metric="time_ms" if shared_ms is None else "time_ms of fidelity congestion-free",
        value=time_ms,
        unit="ns",
        scale=1e6,
        after=("finished, ",),
    )
    differences = [
        f"`{SPREAD}` of system.json says how the work is spread. ASTRA-sim does not read it, but "
        "the traces, which are made of it."
    ]
    if shared_ms is not None:
        differences.append(
            f"Messages share links in the design's fidelity, which states {shared_ms:.9g} ms. The "
            f"network of ASTRA-sim has no congestion: there it is {time_ms:.9g} ms, which is "
            "compared. `--fidelity congestion-free` searches with it."
        )
    command = "".join(_links(system.n_npus)) if len(made) == 1 else ""
    command += " \\\n  ".join(
        ['"$tool"', *(f"--{name}={value}" for name, value in _options(system).items())]
    )
    return folder(tool, files, command, [number], differences=differences)


def _links(n_npus: int) -> tuple[str, ...]:
    """Return lines of a shell that give each NPU the trace of the first."""
    return (
        "npu=1\n",
        f"while [ $npu -lt {n_npus} ]; do\n",
        f"  ln -sf {TRACE}.0.et {TRACE}.$npu.et\n",
        "  npu=$((npu + 1))\n",
        "done\n",
    )


def _check(system: System) -> None:
    for name, value in FIXED.items():
        if getattr(system, name) != value:
            raise InvalidDesignError(
                f"ASTRA-sim 2 fixes `{name}` at {value}; the design has {getattr(system, name)}. "
                f"Set `{name}` to {value}, which `archgym simplify` does where it costs nothing."
            )
    dimensions = [n for n in system.npus if n > 1]
    if not dimensions:
        raise InvalidDesignError("ASTRA-sim 2 needs a dimension with more than one NPU in `npus`.")
    if system.backend == "aware" and len(dimensions) > 1:
        raise InvalidDesignError(
            "The network of ASTRA-sim 2 with congestion has one dimension; `npus` has "
            f"{len(dimensions)} with more than one NPU. Use `fidelity` congestion-free."
        )
    if system.backend == "aware" and dimensions == [2] and "Ring" in system.topology:
        raise InvalidDesignError("ASTRA-sim 2 has no ring of two NPUs with congestion (`npus`).")


def _text(content: Any) -> str:
    return json.dumps(content, indent=2) + "\n"


def _network(system: System) -> dict[str, list[Any]]:
    """Return the network [GB/s, ns]; ASTRA-sim takes no dimension with a single NPU."""
    rows = {
        "topology": system.topology, "npus_count": system.npus,
        "bandwidth": map(float, system.bandwidth), "latency": map(float, system.latency),
    }  # fmt: skip
    return {
        name: [value for value, n in zip(row, system.npus, strict=True) if n > 1]
        for name, row in rows.items()
    }


def _system(system: System, efficiency: float) -> dict[str, Any]:
    implementations = {
        f"{collective.replace('_', '-')}-implementation": [
            name
            for name, n in zip(system.algorithms[collective], system.npus, strict=True)
            if n > 1
        ]
        for collective in COLLECTIVES
    }
    return {
        "scheduling-policy": system.policy,
        "endpoint-delay": system.endpoint_ns,
        "active-chunks-per-dimension": system.active_chunks,
        "preferred-dataset-splits": system.splits,
        **implementations,
        "collective-optimization": system.optimization,
        "local-mem-bw": system.mem_gb_per_s,
        "peak-perf": _reached_tflops(system.peak_tflops, efficiency),
        "roofline-enabled": 1,
        "boost-mode": 0,
    }


def _reached_tflops(peak: float, efficiency: float) -> float:
    """Return the peak that products reach, the double that ASTRA-sim makes our rate of."""
    rate = peak * 1e12 * efficiency
    near = rate / 1e12
    fitting = (near, math.nextafter(near, 0.0), math.nextafter(near, math.inf))
    return next((tflops for tflops in fitting if tflops * 1e12 == rate), near)
