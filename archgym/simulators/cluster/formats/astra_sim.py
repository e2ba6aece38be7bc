"""Clusters as inputs of ASTRA-sim 2 (github.com/astra-sim/astra-sim, `inputs`).

A network (YAML of the analytical back end), a system and a memory (JSON), and the command that
takes them. The parallelisation stands in a file of our own, for a generator of execution traces.
"""

import json
from dataclasses import asdict
from typing import Any, Final

from archgym.simulators.cluster.machine.design import Built
from archgym.simulators.cluster.machine.system import COLLECTIVES, System
from archgym.simulators.kit import InvalidDesignError
from archgym.simulators.kit.exports import Tool, folder

_SHARED: Final = (
    "Messages share links in the design's fidelity. The networks of ASTRA-sim are those of the "
    "fidelities congestion-free and store-and-forward."
)
_COMMAND: Final = """\
"$tool" \\
  --workload-configuration="${WORKLOAD:?names the prefix of Chakra traces}" \\
  --system-configuration=system.json --network-configuration=network.yml \\
  --remote-memory-configuration=memory.json --num-queues-per-dim="""
# Parameters that unmodified ASTRA-sim fixes, with the value that it has.
FIXED: Final = {"intra": "FIFO", "inter": "Ascending", "inflight": 1}


def astra_sim_files(built: Built) -> dict[str, str]:
    """Return the network, system and memory of a cluster, and its parallelisation.

    Args:
      built: A design that can run.

    Raises:
      InvalidDesignError: ASTRA-sim fixes a parameter that the design sets otherwise.
    """
    system = built.system
    for name, value in FIXED.items():
        if getattr(system, name) != value:
            raise InvalidDesignError(
                f"ASTRA-sim 2 fixes `{name}` at {value}; the design has {getattr(system, name)}. "
                f"Set `{name}` to {value}, which `archgym simplify` does where it costs nothing."
            )
    contents = {
        "system.json": _system(system),
        "memory.json": {"memory-type": "NO_MEMORY_EXPANSION"},
        "parallelism.json": asdict(built.parallelism),
    }
    files = {name: json.dumps(content, indent=2) + "\n" for name, content in contents.items()}
    kind = "Aware" if system.backend == "aware" else "Unaware"
    program = f"AstraSim_Analytical_Congestion_{kind}"
    tool = Tool(
        name="ASTRA-sim",
        release="2.0",
        get="git clone --recursive https://github.com/astra-sim/astra-sim, and build its "
        "analytical network; its place is the folder astra-sim.",
        program=program,
        inside=f"build/astra_analytical/build/bin/{program}",
    )
    return folder(
        tool,
        {"network.yml": _network(system), **files},
        f"{_COMMAND}{system.queues}",
        differences=[
            "ASTRA-sim reads the iteration as Chakra traces, a file for each NPU, which are not "
            "among these files: name their prefix as WORKLOAD. No program reads parallelism.json; "
            "it says which parallelisation the traces must have.",
            *[_SHARED] * system.shared,
        ],
        why_none="Without the traces of the iteration no time can be compared.",
    )


def _network(system: System) -> str:
    def row(values: tuple[Any, ...]) -> str:
        return f"[ {', '.join(map(str, values))} ]"

    return (
        f"topology: {row(system.topology)}\n"
        f"npus_count: {row(system.npus)}\n"
        f"bandwidth: {row(tuple(float(b) for b in system.bandwidth))}  # GB/s\n"
        f"latency: {row(tuple(float(t) for t in system.latency))}  # ns\n"
    )


def _system(system: System) -> dict[str, Any]:
    implementations = {
        f"{collective.replace('_', '-')}-implementation": list(system.algorithms[collective])
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
        "peak-perf": system.peak_tflops,
        "roofline-enabled": 1,
        "boost-mode": 0,
    }
