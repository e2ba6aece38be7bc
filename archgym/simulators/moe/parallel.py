"""Placement of experts and their copies on accelerators."""

from typing import Final

import numpy as np
import numpy.typing as npt

from archgym.checks import check_choice
from archgym.simulators.moe.eplb import balance

__all__ = ["PLACEMENTS", "place"]

PLACEMENTS: Final = ("in-order", "balanced", "balanced-by-server")
"""Placement rule: as numbered, by DeepSeek's balancer, or by it with groups kept on a server."""
# DeepSeek-V3 has 256 experts in 8 groups, of which a token's router picks 4.
_N_GROUPS: Final = 8


def place(
    ranking: npt.NDArray[np.float64],
    n_layers: int,
    n_redundant: int,
    n_servers: int,
    n_gpus: int,
    placement: str,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Copy of each expert and the expert in each slot.

    Args:
      ranking: (n_layers * n_experts,), how often each is used.
      n_layers: Layers with experts.
      n_redundant: Slots beyond one for each expert.
      n_servers: Servers.
      n_gpus: Accelerators, which slots divide among evenly.
      placement: One of `PLACEMENTS`.

    Returns:
      (n_layers, n_experts) int32 copies and (n_layers, n_slots) int32 experts.
    """
    check_choice("placement", placement, PLACEMENTS)
    loads = ranking.reshape(n_layers, -1)
    n_experts = loads.shape[1]
    n_slots = n_experts + n_redundant
    if placement == "in-order":
        # The first experts again, slot by slot of the last accelerators.
        slots = np.tile(np.arange(n_slots) % n_experts, (n_layers, 1))
        copies = np.stack([np.bincount(row, minlength=n_experts) for row in slots])
        return copies.astype(np.int32), slots.astype(np.int32)
    by_server = placement == "balanced-by-server"
    groups = _N_GROUPS if by_server and n_experts % _N_GROUPS == 0 else 1
    found = balance(loads, n_slots, groups, n_servers if by_server else 1, n_gpus)
    return found.copies.astype(np.int32), found.slots.astype(np.int32)
