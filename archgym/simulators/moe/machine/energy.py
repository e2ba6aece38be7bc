"""Energy of a run; not calibrated against any measurement.

Each number is a figure of the right size from public sources, to compare designs with and no more:
what moves and computes costs energy by the byte and by the operation, and whatever is switched on
costs power all the time.
"""

from typing import Final

_NS_PER_S: Final = 1e9
_J_PER_PJ: Final = 1e-12
# chosen: what an H100 draws between kernels [W], and a server's processors at low load [W]; the
# cost of ownership has the power of the whole server.
_IDLE_W, HOST_W = 80.0, 150.0
# A byte of the accelerator's memory [pJ]: 3.9 pJ a bit, O'Connor et al., *Fine-Grained DRAM*, MICRO
# 2017, for HBM2.
_MEMORY_PJ: Final = 31.2
# chosen: a byte over a host link or network, 10 pJ a bit, between a SerDes' 5.5 and 24 with a
# transceiver (`cluster/metrics.py`); of the host's memory, 15 pJ a bit, DDR
# with its interface; of a drive, 6 W at 7 GB/s [pJ].
_LINK_PJ, _HOST_PJ, _DRIVE_PJ = 80.0, 120.0, 860.0
# chosen: an operation of 16 bits, a third of an H100's 700 W over its peak [pJ].
_FLOP_PJ: Final = 0.24


def joules(
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
    standing = (_IDLE_W * n_gpus + HOST_W) * elapsed_ns / _NS_PER_S
    work_pj = (
        _MEMORY_PJ * memory_bytes
        + _LINK_PJ * link_bytes
        + _HOST_PJ * host_bytes
        + _DRIVE_PJ * drive_bytes
        + _FLOP_PJ * flops
    )
    return standing + work_pj * _J_PER_PJ
