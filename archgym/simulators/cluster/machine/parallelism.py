"""Spread of a model over NPUs: stages, memory, and what fits a system."""

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.cluster.machine.system import System
from archgym.simulators.cluster.workloads import LAYER_FIELDS
from archgym.simulators.kit import InvalidArgumentError

Ints = npt.NDArray[np.int64]
_COLUMN: Final = {name: place for place, name in enumerate(LAYER_FIELDS)}
RECOMPUTE: Final = ("none", "full", "selective")
ROLES: Final = ("tp", "ep", "dp", "pp", "cp")


@final
@dataclass(frozen=True, kw_only=True)
class Parallelism:
    """Spread of a model over NPUs, and its schedule.

    Attributes:
      tp: Tensor parallelism.
      ep: Expert parallelism, or of tables.
      dp: Data parallelism.
      pp: Pipeline stages.
      cp: Context parallelism.
      roles: Role of each dimension (`tp`, `ep`, `dp`, `pp`, `cp`); None numbers NPUs with tp
        first, then ep, dp, pp, and runs collectives in groups.
      microbatches: Microbatches of an iteration.
      microbatch: Samples of one on one replica.
      schedule: `gpipe` or `1f1b`.
      zero: ZeRO stage, 0 to 3.
      sp: True with sequence parallelism.
      recompute: `none`, `full` or `selective`.
      interleave: Parts of the layers on each stage in turn.
      exchanges: Parts in which experts' tokens are exchanged.
      split: Layers by stage: `blocks` spreads blocks evenly, `layers` all layers by number.
      efficiency: Part of the peak that products reach.
    """

    tp: int = 1
    ep: int = 1
    dp: int = 1
    pp: int = 1
    cp: int = 1
    roles: tuple[str, ...] | None = None
    microbatches: int = 1
    microbatch: int = 1
    schedule: str = "1f1b"
    zero: int = 0
    sp: bool = False
    recompute: str = "none"
    interleave: int = 1
    exchanges: int = 1
    split: str = "blocks"
    efficiency: float = 1.0

    @property
    def n_npus(self) -> int:
        """NPUs that the degrees multiply to."""
        return self.tp * self.ep * self.dp * self.pp * self.cp

    @property
    def global_batch(self) -> int:
        """Samples of an iteration."""
        return self.microbatches * self.microbatch * self.dp * self.ep

    def check(self, system: System, n_layers: int) -> None:
        """Refuse a parallelisation that does not fit its system or model.

        Raises:
          InvalidArgumentError: It does not.
        """
        if self.n_npus != system.n_npus:
            raise InvalidArgumentError(
                f"Degrees of parallelism must multiply to the {system.n_npus} NPUs; "
                f"{self.tp} x {self.ep} x {self.dp} x {self.pp} x {self.cp} are {self.n_npus}."
            )
        if self.pp * self.interleave > n_layers:
            raise InvalidArgumentError(
                f"Each of {self.pp} stages x {self.interleave} parts must have a layer; the model "
                f"has {n_layers}."
            )
        if self.interleave > 1 and self.microbatches % self.pp:
            raise InvalidArgumentError(
                f"With interleaving, `microbatches` must be a multiple of `pp`, {self.pp}; "
                f"got {self.microbatches}."
            )
        if self.roles is None:
            return
        for role in ROLES:
            degree = 1
            for dim, n in zip(self.roles, system.npus, strict=True):
                degree *= n if dim == role else 1
            if degree != getattr(self, role):
                raise InvalidArgumentError(
                    f"`{role}` must be the product of its dimensions, {degree}; "
                    f"got {getattr(self, role)}."
                )


def may_stand(system: System, parallelism: Parallelism) -> bool:
    """Return true if NPUs stand for others along all dimensions without trees and stages.

    With trees, several queues or another order of dimensions it is not exact: events of equal
    time may come in another order than in the whole cluster.
    """
    return system.backend == "unaware" and parallelism.roles is not None


def stage_firsts(layers: Ints, parallelism: Parallelism) -> Ints:
    """Return the first layer of each virtual stage, and the number of layers.

    Args:
      layers: (n, `LAYER_FIELDS`).
      parallelism: Parallelisation.
    """
    n, n_virtual = len(layers), parallelism.pp * parallelism.interleave
    if parallelism.split == "layers":
        stage = np.arange(n) * n_virtual // n
    else:
        is_block = layers[:, _COLUMN["is_block"]] > 0
        n_blocks = int(is_block.sum())
        if n_blocks < n_virtual:
            stage = np.arange(n) * n_virtual // n
        else:
            # What is not a block goes with the one before it, an embedding with the first.
            blocks = np.maximum(np.cumsum(is_block) - 1, 0)
            stage = blocks * n_virtual // n_blocks
    firsts = np.searchsorted(stage, np.arange(n_virtual + 1))
    return np.asarray(firsts, dtype=np.int64)


def memory_bytes(layers: Ints, parallelism: Parallelism) -> int:
    """Return the bytes that an NPU of the fullest stage holds.

    Args:
      layers: (n, `LAYER_FIELDS`) int64.
      parallelism: Parallelisation.

    Source:
      Weights and gradients of 2 bytes, 12 bytes of optimiser's state a parameter; activations as
      `activation_bytes`.
    """
    p = parallelism
    column = {name: layers[:, place] for name, place in _COLUMN.items()}
    t = np.where(column["tensor_parallel"] > 0, p.tp, 1)
    dense = column["params"] // t
    experts = column["expert_params"] // (t * p.ep)
    replicas, copies = p.dp * p.ep * p.cp, p.dp * p.cp
    held = activation_bytes(layers, parallelism)
    largest = 0
    for stage, own in enumerate(_layers_of_stages(layers, p)):
        pd, pe = int(dense[own].sum()), int(experts[own].sum())
        whole, shard = pd + pe, pd // replicas + pe // copies
        w = shard if p.zero == 3 else whole
        r = shard if p.zero >= 2 else whole
        o = shard if p.zero >= 1 else whole
        tables = 4 * (int(column["table_params"][own].sum()) // p.ep)
        largest = max(largest, 2 * w + 4 * r + 12 * o + tables + held[stage])
    return largest


def _layers_of_stages(layers: Ints, p: Parallelism) -> list[Ints]:
    """Return the numbers of each stage's layers."""
    firsts = stage_firsts(layers, p)
    return [
        np.concatenate(
            [
                np.arange(firsts[part * p.pp + stage], firsts[part * p.pp + stage + 1])
                for part in range(p.interleave)
            ]
        )
        for stage in range(p.pp)
    ]


def activation_bytes(layers: Ints, parallelism: Parallelism) -> list[int]:
    """Return the bytes of activations that an NPU of each stage keeps for the backward pass.

    Args:
      layers: (n, `LAYER_FIELDS`) int64.
      parallelism: Parallelisation.

    Source:
      Korthikanti et al., *Reducing Activation Recomputation in Large Transformer Models*, 2022,
      equations 1 to 5; the term of interleaving from their section 4.2.3.
    """
    p = parallelism
    column = {name: layers[:, place] for name, place in _COLUMN.items()}
    t = np.where(column["tensor_parallel"] > 0, p.tp, 1)
    across = t if p.sp else np.ones_like(t)
    kept_tp = column["act_tp"] - (column["core_act"] if p.recompute == "selective" else 0)
    kept = (column["act_seq"] // across + kept_tp // t) * p.microbatch // p.cp
    inputs = column["act_in"] // across * p.microbatch // p.cp
    found = []
    for stage, own in enumerate(_layers_of_stages(layers, p)):
        live = p.microbatches if p.schedule == "gpipe" else min(p.microbatches, p.pp - stage)
        held = live * int((inputs if p.recompute == "full" else kept)[own].sum())
        if p.interleave > 1:
            held = int(held * (1 + (p.pp - 1) / (p.pp * p.interleave)))
        if p.recompute == "full":
            held += int(kept[own].max())
        found.append(held)
    return found
