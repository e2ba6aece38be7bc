"""Accelerators, tiers of memory below them, their prices and energies."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, final

if TYPE_CHECKING:
    from archgym.simulators.moe.kernel.step_time import StepCosts

# chosen: a card of 100 Gbit/s, for servers whose description has no network.
_NETWORK_GB_PER_S: Final = 12.5
# chosen: three years, over which a server is commonly written off.
HOURS: Final = 3 * 365 * 24


@final
@dataclass(frozen=True)
class Tier:
    """Kind of memory below the accelerators.

    Attributes:
      name: Name that parameters and metrics begin with.
      usd_per_gb: Price.
      joules_per_gb: Energy of moving a gigabyte to an accelerator or back.
      watts_per_gb: Power at rest.
      latency_ms: Time until the first byte comes.
      gb_per_s: Bandwidth; 0 for that of the accelerators' links to the host, or of the network.
    """

    name: str
    usd_per_gb: float
    joules_per_gb: float
    watts_per_gb: float
    latency_ms: float
    gb_per_s: float


# All chosen, since prices and energies differ by vendor and month; options of a search replace none
# of them. DRAM: 5 $ a gigabyte of RDIMM; 15 pJ a bit for the array, its bus and PCIe; 4 W for 64
# GB. CXL: the same chips at 70 % of the price, since DIMMs of an older server serve, twice the
# energy through a second controller, and two cards with eight lanes of PCIe 5. Flash: 25 W for 14
# GB/s, four drives of 7 GB/s. Remote: DRAM of another server behind a network card of 25 W.
TIERS: Final = (
    Tier("dram", 5.0, 0.12, 0.06, 0.01, 0.0),
    Tier("cxl", 3.5, 0.24, 0.06, 0.02, 48.0),
    Tier("flash", 0.15, 1.8, 0.001, 0.1, 28.0),
    Tier("remote", 5.0, 1.0, 0.06, 0.05, 0.0),
)


@final
@dataclass(frozen=True)
class Deployment:
    """A model on the accelerators of one worker.

    Attributes:
      costs: Costs of steps.
      max_tokens: Tokens whose keys and values fit.
      kv_bytes: Keys and values of a token on all accelerators of the worker.
      n_gpus: Accelerators of the server.
      host_gb_per_s: Bandwidth from the host to an accelerator.
      network_gb_per_s: Bandwidth of an accelerator's network card.
      peer_gb_per_s: Bandwidth from an accelerator to another of the server.
      layers: Layers of the model.
      token_s: Least time of a token on one accelerator, by the operations of its weights [s].
    """

    costs: "StepCosts"
    max_tokens: int
    kv_bytes: float
    n_gpus: int
    host_gb_per_s: float
    network_gb_per_s: float
    peer_gb_per_s: float
    layers: int
    token_s: float


@lru_cache(maxsize=32)
def deployment(
    hardware: str,
    model: str,
    precision: str,
    engine: str,
    release: str,
    tensor: int,
    n_sharing: int = 1,
) -> Deployment:
    """Return a model on `tensor` accelerators, its experts spread over this number of such workers.

    Raises:
      InvalidDesignError: It does not fit.
      UnknownNameError: There is no such hardware, model, precision or engine.
    """
    from archgym.simulators.moe import MoeSimulator

    served = MoeSimulator(
        "closed-loop", hardware=hardware, model=model, engine=engine, precision=precision,
        release=release,
    )  # fmt: skip
    if "spread" not in served.space.names:
        # A dense model has no experts to share.
        n_sharing = 1
    shared = {"data": n_sharing, "spread": "yes"} if n_sharing > 1 else {"data": 1}
    costs = served.step_costs({"tensor": tensor, **shared})
    node = served.node
    network = _NETWORK_GB_PER_S if node.network is None else node.network.gb_per_s
    return Deployment(
        costs, costs.max_context // n_sharing, costs.kv_bytes * tensor, node.n_gpus,
        node.host_to_gpu.gb_per_s, network,
        network if node.gpu_to_gpu is None else node.gpu_to_gpu.gb_per_s, served.model.layers,
        served.token_s(),
    )  # fmt: skip


def sizes_gb(design: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the size of each tier of a design [GB]."""
    return tuple(float(design.get(f"{tier.name}_gb", 0)) for tier in TIERS)
