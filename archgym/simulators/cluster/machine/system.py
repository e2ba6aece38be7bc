"""Systems: the network, the collectives and the NPUs of a cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Final, final

from archgym.simulators.kit import InvalidArgumentError, check_choice, check_whole

MAX_DIMS: Final = 8
TOPOLOGIES: Final = ("Ring", "FullyConnected", "Switch")
COLLECTIVES: Final = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all")
ALGORITHMS: Final = ("ring", "direct", "halvingDoubling", "doubleBinaryTree")
INTRA: Final = ("FIFO", "RG", "SmallestFirst", "LessRemainingPhaseFirst")
INTER: Final = ("Ascending", "RoundRobin", "OfflineGreedy")
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "policy": ("LIFO", "FIFO"),
    "optimization": ("baseline", "localBWAware"),
    "intra": INTRA,
    "inter": INTER,
    "backend": ("unaware", "aware"),
}
# A GB of a link is 2^30 bytes in ASTRA-sim; of memory it is 1e9.
_LINK_GB: Final = 2.0**30
# The delay of members of a group, whatever the configured one is; see SPEC of ASTRA-sim's Sys.
GROUP_ENDPOINT_NS: Final = 10


def algorithm_code(name: str) -> int:
    """Return the kernel's number of an algorithm; `direct4` sends four messages at a time.

    Raises:
      InvalidArgumentError: There is no such algorithm.
    """
    if name in ALGORITHMS:
        return ALGORITHMS.index(name)
    window = name.removeprefix("direct")
    if window != name and window.isdecimal() and 0 < int(window) < 1 << 20:
        return ALGORITHMS.index("direct") + len(ALGORITHMS) * int(window)
    raise InvalidArgumentError(
        f"An algorithm must be one of {', '.join(ALGORITHMS)} or `direct` with a number of "
        f"messages, such as direct4; got {name!r}."
    )


@final
@dataclass(frozen=True, kw_only=True)
class System:
    """A cluster without its work: dimensions of the network, collectives, NPUs.

    Attributes:
      topology: Topology of each dimension, one of `TOPOLOGIES`.
      npus: Along each dimension.
      bandwidth: Bandwidth of a link of each dimension, one direction [GB/s].
      latency: Latency of a link of each dimension [ns].
      algorithms: Algorithms by collective, one for each dimension.
      splits: Chunks that a collective is cut into.
      policy: `LIFO` or `FIFO`, which collective goes first.
      active_chunks: Chunks at a time in a dimension.
      queues: Queues of a dimension.
      optimization: Optimisation of all-reduce, `baseline` or `localBWAware`.
      intra: Order in a queue, one of `INTRA`.
      inter: Order of dimensions, one of `INTER`.
      inflight: Collectives and sends that an NPU has under way at once.
      endpoint_ns: Delay before a message leaves and after it has come [ns].
      mem_gb_per_s: Memory bandwidth of an NPU [GB/s].
      peak_tflops: Peak of an NPU.
      backend: `unaware` or `aware` of congestion.
      shared: True if messages and reductions pay for what ASTRA-sim gives away: a queue for each
        link, all dimensions of a message's way, reductions that share memory. Without `aware`, the
        links of NPUs that stand for others stand for theirs; with it, each link is simulated, and
        heads of messages do not wait for their tails at a switch.
      places: Dimension of the cluster that each one is a part of; parts share its links.
      packets: Packets that `aware` cuts each message into. ASTRA-sim forwards whole messages.
      sane: True without the quirks of ASTRA-sim that `README.md` lists, and without the deadlocks
        of stragglers.
    """

    topology: tuple[str, ...]
    npus: tuple[int, ...]
    bandwidth: tuple[float, ...]
    latency: tuple[float, ...]
    algorithms: Mapping[str, tuple[str, ...]] = field(hash=False)
    splits: int = 1
    policy: str = "LIFO"
    active_chunks: int = 1
    queues: int = 1
    optimization: str = "baseline"
    intra: str = "FIFO"
    inter: str = "Ascending"
    inflight: int = 1
    endpoint_ns: int = 10
    mem_gb_per_s: float = 2039.0
    peak_tflops: float = 312.0
    backend: str = "unaware"
    sane: bool = False
    shared: bool = False
    places: tuple[int, ...] = ()
    packets: int = 1

    def __post_init__(self) -> None:
        n = len(self.topology)
        if not 1 <= n <= MAX_DIMS:
            raise InvalidArgumentError(f"A network must have 1 to {MAX_DIMS} dimensions; got {n}.")
        for name in ("npus", "bandwidth", "latency"):
            if len(getattr(self, name)) != n:
                raise InvalidArgumentError(
                    f"`{name}` must have a value for each of the {n} dimensions; "
                    f"got {getattr(self, name)}."
                )
        for topology in self.topology:
            check_choice("topology", topology, TOPOLOGIES)
        for name, known in _CHOICES.items():
            check_choice(name, getattr(self, name), known)
        for name in ("splits", "active_chunks", "queues", "inflight", "endpoint_ns", "packets"):
            check_whole(name, getattr(self, name), 1, (1 << 24) - 1)
        self._check_dimensions()

    def _check_dimensions(self) -> None:
        # Negated, so that a NaN is refused as well.
        if not all(1 <= n <= 1 << 16 for n in self.npus) or self.n_npus > 1 << 17:
            raise InvalidArgumentError(
                f"`npus` must be at least 1 along each dimension and 131,072 in all; "
                f"got {self.npus}."
            )
        if not all(0 < b < 1e9 for b in (*self.bandwidth, self.mem_gb_per_s, self.peak_tflops)):
            raise InvalidArgumentError(
                "Bandwidths and the peak must be above 0 and below 1e9; got "
                f"{self.bandwidth}, {self.mem_gb_per_s}, {self.peak_tflops}."
            )
        if not all(0 <= t < 1e12 for t in self.latency):
            raise InvalidArgumentError(
                f"`latency` must be at least 0 and below 1e12 ns; got {self.latency}."
            )
        for collective in COLLECTIVES:
            names = self.algorithms.get(collective, ())
            if len(names) != len(self.topology):
                raise InvalidArgumentError(
                    f"`algorithms` must have one of {collective} for each dimension; got {names}."
                )
            for name, n in zip(names, self.npus, strict=True):
                self._check_algorithm(collective, name, n)

    def _check_algorithm(self, collective: str, name: str, n: int) -> None:
        algorithm_code(name)
        if n & (n - 1) and name in ("halvingDoubling", "doubleBinaryTree"):
            raise InvalidArgumentError(
                f"`{name}` needs a power of two of NPUs in its dimension; got {n}."
            )
        if name == "halvingDoubling" and collective == "all_to_all":
            raise InvalidArgumentError("halvingDoubling has no all_to_all. Use ring or direct.")

    @property
    def n_npus(self) -> int:
        """NPUs of the cluster."""
        return prod(self.npus)

    @property
    def bytes_per_ns(self) -> tuple[float, ...]:
        """Bandwidth of a link of each dimension [bytes/ns]."""
        gb = 1e9 if self.sane else _LINK_GB
        return tuple(bandwidth * gb / 1e9 for bandwidth in self.bandwidth)

    @property
    def uses_trees(self) -> bool:
        """True if any collective is configured with double binary trees."""
        return any("doubleBinaryTree" in names for names in self.algorithms.values())
