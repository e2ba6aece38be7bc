"""Energy of a run; not calibrated against any measurement.

Each number is a figure of the right size from public sources, to compare designs with and no more:
what moves and computes costs energy by the byte and by the operation, and whatever is switched on
costs power all the time.
"""

from dataclasses import dataclass
from typing import Final, final

_NS_PER_S: Final = 1e9
_J_PER_PJ: Final = 1e-12


@final
@dataclass(frozen=True)
class Energy:
    """Prices of a run's work.

    Attributes:
      idle_w: One accelerator that is on [W]. chosen: what an H100 draws between kernels.
      host_w: The host's power [W]. chosen: a server's processors at low load.
      memory_pj: A byte from the accelerator's memory [pJ]: 3.9 pJ a bit, O'Connor et al.,
        *Fine-Grained DRAM*, MICRO 2017, for HBM2.
      link_pj: A byte over a host link or network [pJ]. chosen: 10 pJ a bit.
      host_pj: A byte from the host's memory [pJ]. chosen: 15 pJ a bit, DDR with its interface.
      drive_pj: A byte from a drive [pJ]. chosen: 6 W at 7 GB/s.
      flop_pj: An operation of 16 bits [pJ]. chosen: a third of an H100's 700 W over its peak.
    """

    idle_w: float = 80.0
    host_w: float = 150.0
    memory_pj: float = 31.2
    link_pj: float = 80.0
    host_pj: float = 120.0
    drive_pj: float = 860.0
    flop_pj: float = 0.24

    def joules(
        self,
        *,
        elapsed_ns: float,
        n_gpus: int,
        memory_bytes: float,
        link_bytes: float,
        host_bytes: float,
        drive_bytes: float,
        flops: float,
    ) -> float:
        """Return energy of everything that is on and moves [J]."""
        standing = (self.idle_w * n_gpus + self.host_w) * elapsed_ns / _NS_PER_S
        work_pj = (
            self.memory_pj * memory_bytes
            + self.link_pj * link_bytes
            + self.host_pj * host_bytes
            + self.drive_pj * drive_bytes
            + self.flop_pj * flops
        )
        return standing + work_pj * _J_PER_PJ


ENERGY: Final = Energy()
