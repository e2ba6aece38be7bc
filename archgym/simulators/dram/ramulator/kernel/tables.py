"""Device tables of the kernel: commands, timing rules and the tree of nodes."""

import functools
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.dram.kernel.clocks import distance
from archgym.simulators.dram.kernel.records import KINDS as POWER_KINDS
from archgym.simulators.dram.ramulator.kernel.state import (
    DEVICE,
    MAX_COMMANDS,
    NONE,
    RULE,
)
from archgym.simulators.dram.ramulator.machine import KINDS, Constraint, Standard

_READS: Final = frozenset(("RD", "RDA"))
_WRITES: Final = frozenset(("WR", "WRA"))
_COLUMNS: Final = _READS | _WRITES
_ROWS: Final = frozenset(("ACT", "ACT1", "PREpb", "PREab"))
_ACTIVATIONS: Final = frozenset(("ACT", "ACT1"))

# Commands as the energy account counts them; a split activation counts with its first half.
_POWER: Final = {
    "ACT": "ACT",
    "ACT1": "ACT",
    "PREpb": "PRE",
    "PREab": "PREA",
    "RD": "RD",
    "WR": "WR",
    "RDA": "RDA",
    "WRA": "WRA",
    "REFab": "REFA",
    "REFpb": "REFB",
}
_CODES: Final = {
    "act2": "ACT2",
    "pre": "PREpb",
    "prea": "PREab",
    "rd": "RD",
    "wr": "WR",
    "rda": "RDA",
    "wra": "WRA",
    "refab": "REFab",
    "refpb": "REFpb",
    "cas_rd": "CAS_RD",
    "cas_wr": "CAS_WR",
}


@final
@dataclass(frozen=True, eq=False)
class DeviceTables:
    """A device as the kernel takes it.

    Attributes:
      device: (1,) of `DEVICE`.
      rules: of `RULE`, by preceding command.
      node_of: (n_banks, n_levels) int32, nodes that a bank lies in, the channel first.
      number_of: (n_banks, n_levels) int32, their numbers within their parents.
      siblings: (n_nodes, 2) int32, first node of the same parent and one after the last.
      n_windows: Rings of past commands that the rules need.
    """

    device: npt.NDArray[Any]
    rules: npt.NDArray[Any]
    node_of: npt.NDArray[np.int32]
    number_of: npt.NDArray[np.int32]
    siblings: npt.NDArray[np.int32]
    n_windows: int


# chosen: all bins and organisations of two families with ranks.
@functools.lru_cache(maxsize=1024)
def device_tables(
    made: Standard, organisation: str, speed: str, ranks: int, without: str | None = None
) -> DeviceTables:
    """Return the tables of an organisation, speed bin and number of ranks.

    Args:
      made: The family.
      organisation: Name of an organisation.
      speed: Name of a speed bin.
      ranks: Ranks of a channel; 1 where the family has no ranks.
      without: A cost of `costs.COSTS` that the device does not pay.
    """
    values = made.bins[speed].values(organisation)
    sizes = [
        ranks if level == "Rank" else made.organisations[organisation].sizes[level]
        for level in made.levels
    ]
    levels = ("Channel", *made.levels)
    node_of, number_of, siblings = _tree(sizes)
    codes = {command.name: code for code, command in enumerate(made.commands)}
    k = made.ticks_per_clock
    ticks = [round(command.clocks * k) for command in made.commands]
    entries: list[list[tuple[int, int, int, int, int, int]]] = [[] for _ in made.commands]
    n_windows = 0
    for rule in made.constraints:
        clocks = _relieved(rule, distance(rule.distance, values), without)
        for before in rule.preceding:
            slot = n_windows
            n_windows += rule.window > 1
            for index, after in enumerate(rule.following):
                own = slot
                if rule.window > 1 and index > 0:
                    own = n_windows
                    n_windows += 1
                gap = clocks * k + ticks[codes[before]] - ticks[codes[after]]
                entries[codes[before]].append(
                    (levels.index(rule.scope), codes[after], gap, rule.window, own, rule.siblings)
                )
    for first, command in enumerate(made.commands):
        for second, other in enumerate(made.commands):
            if ticks[first] > 1 and other.bus == command.bus:
                entries[first].append((0, second, ticks[first], 1, 0, 0))
    device = np.zeros(1, dtype=DEVICE)
    d = device[0]
    d["kind"] = KINDS.index(made.kind)
    d["n_levels"] = len(levels)
    d["n_nodes"] = len(siblings)
    d["n_banks"] = len(node_of)
    d["n_commands"] = len(made.commands)
    d["scope_level"] = levels.index(made.refresh_scope)
    d["scope_banks"] = int(np.prod(sizes[d["scope_level"] :]))
    d["n_scopes"] = d["n_banks"] // d["scope_banks"]
    d["banks_per_stack"] = sizes[-1] * sizes[-2]
    d["act"] = codes.get("ACT", codes.get("ACT1", NONE))
    for role, command_name in _CODES.items():
        d[role] = codes.get(command_name, NONE)
    d["read_latency"] = distance(made.read_latency, values) * k
    d["cl"] = values["nCL"] * k
    d["cwl"] = values["nCWL"] * k
    d["wck_tail"] = values.get("nBL_min", 0) + values.get("nWCKPST", 0)
    d["aad"] = values.get("nAAD", 0)
    d["refi"] = values["nREFI"] * k
    d["refi_bank"] = values.get("nREFIpb", 0) * k
    d["rfc_bank"] = values.get("nRFCpb", 0) * k
    d["power_kind"] = NONE
    n_rules = 0
    flat = []
    for code, issued in enumerate(made.commands):
        d["rules_of"][code] = n_rules
        n_rules += len(entries[code])
        flat += entries[code]
        if issued.name in _POWER:
            d["power_kind"][code] = POWER_KINDS.index(_POWER[issued.name])
    d["rules_of"][len(made.commands) : MAX_COMMANDS + 1] = n_rules
    rules = np.array(flat, dtype=RULE)
    return DeviceTables(device, rules, node_of, number_of, siblings, n_windows)


def _tree(
    sizes: list[int],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return the nodes of each bank, their numbers within their parents, and their siblings."""
    n_banks = int(np.prod(sizes))
    node_of = np.zeros((n_banks, len(sizes) + 1), dtype=np.int32)
    number_of = np.zeros_like(node_of)
    siblings = [(0, 1)]
    first, n_parents, below = 1, 1, n_banks
    for level, size in enumerate(sizes, start=1):
        below //= size
        place = np.arange(n_banks) // below
        node_of[:, level] = first + place
        number_of[:, level] = place % size
        for parent in range(n_parents):
            siblings += [(first + parent * size, first + (parent + 1) * size)] * size
        n_parents *= size
        first += n_parents
    return node_of, number_of, np.array(siblings, dtype=np.int32)


def _relieved(rule: Constraint, clocks: int, cost: str | None) -> int:
    """Return the distance of a rule on a device that does not pay a cost [clocks]."""
    if cost is None or _cost_of(rule) != cost:
        return clocks
    return min(clocks, 1)


def _cost_of(rule: Constraint) -> str | None:
    """Return the cost that a rule is part of, of `dram.costs.COSTS`."""
    before, after = frozenset(rule.preceding), frozenset(rule.following)
    if before <= _COLUMNS and after <= _COLUMNS:
        is_turn = (before <= _READS) != (after <= _READS) or rule.siblings
        return "turnaround" if is_turn else "data-bus"
    if rule.scope != "Bank" and before <= _ACTIVATIONS and after & _ACTIVATIONS:
        return "activation-rate"
    if (before | after) <= (_ROWS | _COLUMNS):
        return "rows"
    return None
