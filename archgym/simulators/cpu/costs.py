"""Ideal machines, each of which does not pay one cost; their area is that of the design."""

from collections.abc import Mapping
from typing import Final

from archgym.simulators.cpu.kernel.run import Ideal
from archgym.simulators.cpu.machine import Machine

COSTS: Final[Mapping[str, str]] = {
    "mispredictions": "every branch is predicted right",
    "l1-misses": "every look-up in an L1 cache hits",
    "l2-misses": "every look-up in the L2 cache hits",
    "tlb-misses": "every translation hits the first TLB",
    "window": "4,096 entries in ROB and scheduler, 1,024 in load and store queue",
    "bandwidth": "64 entries in queues, 128 MSHRs, 8 ports and four DRAM channels",
}
"""By name, what is free without it."""

# chosen: no workload fills more; registers are as many as the model has.
_WINDOW: Final = {
    "CPU.rob": 4096,
    "CPU.scheduler": 4096,
    "CPU.lq": 1024,
    "CPU.sq": 1024,
    "CPU.registers": 256,
}
_MANY: Final = {"rq": 64, "wq": 64, "pq": 64, "mshr": 128, "tag_bw": 8, "fill_bw": 8}


def idealised(cost: str, machine: Machine) -> tuple[dict[str, int], Ideal]:
    """Return a machine that does not pay one of `COSTS`, and what the kernel makes free.

    Args:
      cost: Its name.
      machine: Every parameter.
    """
    found = dict(machine)
    ideal = Ideal(
        branches=cost == "mispredictions",
        tlbs=cost == "tlb-misses",
        l1=cost == "l1-misses",
        l2=cost == "l2-misses",
    )
    if cost == "window":
        found |= {name: max(value, found[name]) for name, value in _WINDOW.items()}
    elif cost == "bandwidth":
        for cache in ("L1I", "L1D", "L2C", "LLC", "ITLB", "DTLB", "STLB"):
            for name, value in _MANY.items():
                full = f"{cache}.{name}"
                found[full] = max(value, found[full])
        found |= {"PTW.rq": 64, "PTW.max_read": 8, "PTW.max_write": 8}
        found |= {"DRAM.channels": 4, "DRAM.rq": 64, "DRAM.wq": 64}
    return found, ideal
