"""Copies of busy experts, and their places on accelerators, so that all are equally busy.

The balancer gives what DeepSeek's expert-parallel load balancer gives, ties included: groups of
experts are packed to servers, the busiest experts of a server are copied, and the copies are packed
to its accelerators, each time the heaviest first onto the lightest place with room.

Source:
  DeepSeek-AI, *Expert Parallelism Load Balancer*, 2025, README; *DeepSeek-V3*, 2024, section 3.4.
"""

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit import InvalidArgumentError, check_choice, check_whole


@final
@dataclass(frozen=True)
class Placement:
    """Expert of every slot; the slots of an accelerator follow each other.

    Attributes:
      slots: (n_layers, n_slots) int64, the expert in each slot.
      copies: (n_layers, n_experts) int64, slots that hold each expert.
      n_gpus: Accelerators.
    """

    slots: npt.NDArray[np.int64]
    copies: npt.NDArray[np.int64]
    n_gpus: int

    @property
    def gpus(self) -> npt.NDArray[np.int64]:
        """(n_slots,), the accelerator of each slot."""
        n_slots = self.slots.shape[1]
        return np.repeat(np.arange(self.n_gpus), n_slots // self.n_gpus)

    def loads(self, weight: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the load of each accelerator, (n_layers, n_gpus); copies share an expert's load.

        Args:
          weight: (n_layers, n_experts), load of each expert.
        """
        shares = np.take_along_axis(weight / self.copies, self.slots, axis=1)
        loads: npt.NDArray[np.float64] = shares.reshape(len(shares), self.n_gpus, -1).sum(axis=2)
        return loads


def balance(
    weight: npt.NDArray[np.float64], n_slots: int, n_groups: int, n_nodes: int, n_gpus: int
) -> Placement:
    """Place experts by their load.

    Args:
      weight: (n_layers, n_experts), load of each expert, 0 or more.
      n_slots: Slots of all accelerators, a multiple of `n_gpus` and no less than the experts.
      n_groups: Groups of experts that a token's router tells apart, a divisor of the experts;
        groups are kept together on a server where `n_nodes` divides them, else ignored.
      n_nodes: Servers, a divisor of `n_gpus`.
      n_gpus: Accelerators.

    Raises:
      InvalidArgumentError: The numbers do not divide as they must.
    """
    weight = np.asarray(weight)
    if weight.ndim != 2 or not np.isfinite(weight).all() or (weight < 0).any():
        raise InvalidArgumentError(
            "`weight` must have shape (n_layers, n_experts) and finite entries of 0 or more."
        )
    n_experts = weight.shape[1]
    for name, value in (("n_groups", n_groups), ("n_nodes", n_nodes), ("n_gpus", n_gpus)):
        check_whole(name, value, 1)
    _check_divides("n_groups", n_groups, "experts", n_experts)
    _check_divides("n_nodes", n_nodes, "n_gpus", n_gpus)
    _check_divides("n_gpus", n_gpus, "n_slots", n_slots)
    if n_slots < n_experts:
        raise InvalidArgumentError(
            f"`n_slots` must be no less than the {n_experts} experts; got {n_slots}."
        )
    if n_groups % n_nodes:
        n_groups = n_nodes = 1
    # Single precision, as the balancer has it: ties and their order depend on it.
    layers = [_place(row, n_slots, n_groups, n_nodes, n_gpus) for row in weight.astype(np.float32)]
    slots = np.array([place for place, _ in layers])
    return Placement(slots, np.array([copies for _, copies in layers]), n_gpus)


def _check_divides(name: str, value: int, other: str, of: int) -> None:
    if of % value:
        raise InvalidArgumentError(f"`{name}` must divide the {of} {other}; got {value}.")


def _place(
    weight: npt.NDArray[np.float32], n_slots: int, n_groups: int, n_nodes: int, n_gpus: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return slots and copies of one layer."""
    n_experts = len(weight)
    group_size = n_experts // n_groups
    groups_per_node = n_groups // n_nodes
    groups = weight.reshape(n_groups, group_size).sum(axis=1, dtype=np.float32)
    node, rank = _pack(groups, n_nodes)
    # Where an expert stands once the groups of a server stand together.
    begin = (node * groups_per_node + rank) * group_size
    moved = (begin[:, None] + np.arange(group_size)).ravel()
    original = np.empty(n_experts, dtype=np.int64)
    original[moved] = np.arange(n_experts)
    per_node, slots_per_node = n_experts // n_nodes, n_slots // n_nodes
    slots_per_gpu = n_slots // n_gpus
    slots = np.empty(n_slots, dtype=np.int64)
    copies = np.empty(n_experts, dtype=np.int64)
    for index in range(n_nodes):
        own = original[index * per_node : (index + 1) * per_node]
        held, counts = _copy(weight[own], slots_per_node)
        load = (weight[own] / counts.astype(np.float32))[held]
        gpu, place = _pack(load.astype(np.float32), n_gpus // n_nodes)
        slots[index * slots_per_node + gpu * slots_per_gpu + place] = own[held]
        copies[own] = counts
    return slots, copies


def _copy(
    weight: npt.NDArray[np.float32], n_slots: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Give each further slot to the expert whose copies are busiest, the first if equal."""
    held = np.arange(n_slots)
    counts = np.ones(len(weight), dtype=np.int64)
    for slot in range(len(weight), n_slots):
        busiest = int(np.argmax(weight / counts.astype(np.float32)))
        held[slot] = busiest
        counts[busiest] += 1
    return held, counts


def _pack(
    weight: npt.NDArray[np.float32], n_packs: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the pack of each item and its place there; packs take equally many items."""
    n_items = len(weight)
    room = n_items // n_packs
    if room == 1:
        return np.arange(n_items), np.zeros(n_items, dtype=np.int64)
    pack_of = np.empty(n_items, dtype=np.int64)
    place = np.empty(n_items, dtype=np.int64)
    loads = np.zeros(n_packs, dtype=np.float32)
    items = np.zeros(n_packs, dtype=np.int64)
    for item in np.argsort(-weight, kind="stable"):
        pack = int(np.argmin(np.where(items < room, loads, np.inf)))
        pack_of[item], place[item] = pack, items[pack]
        loads[pack] += weight[item]
        items[pack] += 1
    return pack_of, place


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
    """Return the number of copies of each expert, and the expert in each slot.

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
