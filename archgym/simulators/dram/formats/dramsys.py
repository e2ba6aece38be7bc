"""Memory specifications and address mappings in DRAMSys 4's JSON form."""

from pathlib import Path
from types import MappingProxyType
from typing import Final

from archgym.simulators.dram.dramsys.devices import STANDARDS, Device
from archgym.simulators.dram.dramsys.kernel.timing import device_table
from archgym.simulators.dram.dramsys.mapping import AddressMapping
from archgym.simulators.kit import InvalidArgumentError, Node, node_of, read_json

MAPPING_KEYS: Final = {
    "byte": "BYTE_BIT",
    "column": "COLUMN_BIT",
    "row": "ROW_BIT",
    "bank": "BANK_BIT",
    "group": "BANKGROUP_BIT",
    "rank": "RANK_BIT",
}
"""Keys of an address mapping by the field of `AddressMapping`."""
CONTROLLER_KEYS: Final = {
    "page_policy": "PagePolicy",
    "scheduler": "Scheduler",
    "scheduler_buffer": "SchedulerBuffer",
    "request_buffer_size": "RequestBufferSize",
    "command_mux": "CmdMux",
    "response_queue": "RespQueue",
    "refresh_policy": "RefreshPolicy",
    "refresh_max_postponed": "RefreshMaxPostponed",
    "refresh_max_pulled_in": "RefreshMaxPulledin",
    "power_down_policy": "PowerDownPolicy",
    "arbiter": "Arbiter",
    "max_active_transactions": "MaxActiveTransactions",
}
"""Keys of a controller's configuration by the simulator's parameter."""
# Standards whose currents enter DRAMSys 4's energy equations.
_WITH_ENERGY: Final = ("DDR3", "DDR4")
_NEEDED: Final = ("IDD0", "IDD2N", "IDD3N", "IDD4R", "IDD4W", "IDD5", "VDD")
# chosen: far above any clock count and current, so that no sum overflows.
_MAX: Final = 2**31
# A refresh that lasts as long as its interval leaves no time for requests: (interval, duration).
_REFRESHES: Final = {
    "DDR3": (("REFI", "RFC"),),
    "DDR4": (("REFI", "RFC"),),
    "LPDDR4": (("REFI", "RFCAB"), ("REFIPB", "RFCPB")),
    "HBM2": (("REFI", "RFC"), ("REFISB", "RFCSB")),
}


def read_mapping(path: Path) -> AddressMapping:
    """Return the address mapping of a DRAMSys file (`CONGEN`).

    Raises:
      FileFormatError: It is not such a file; the error names what is wrong.
      StorageError: It cannot be read.
    """
    root = read_tree(path)
    known = (*MAPPING_KEYS.values(), "XOR")
    top = root.members("an address mapping", ("CONGEN", *known))
    fields = top["CONGEN"].members("`CONGEN`", known) if "CONGEN" in top else top
    bits = {ours: read_bits(fields[name]) for ours, name in MAPPING_KEYS.items() if name in fields}
    for ours in ("byte", "column", "row", "bank"):
        if ours not in bits:
            raise root.refusal(f"an address mapping must give `{MAPPING_KEYS[ours]}`; it is absent")
    pairs = []
    for pair in fields["XOR"].items("`XOR`") if "XOR" in fields else ():
        ends = pair.members("an entry of `XOR`", ("FIRST", "SECOND"), ("FIRST", "SECOND"))
        first, second = (ends[end].whole(f"`{end}`", 0, 62) for end in ("FIRST", "SECOND"))
        pairs.append((first, second))
    try:
        return AddressMapping(
            name=path.name.removesuffix(".json"),
            byte=bits["byte"],
            column=bits["column"],
            row=bits["row"],
            bank=bits["bank"],
            group=bits.get("group", ()),
            rank=bits.get("rank", ()),
            xor=tuple(pairs),
        )
    except InvalidArgumentError as error:
        raise root.refusal(str(error)) from None


def read_memspec(path: Path) -> Device:
    """Return the device of a DRAMSys memory specification (`memspec`).

    Raises:
      FileFormatError: It is not such a file; the error names what is wrong.
      StorageError: It cannot be read.
    """
    root = read_tree(path)
    top = root.members("a memory specification", ("memspec",), ("memspec",))
    needed = ("memoryType", "memarchitecturespec", "memtimingspec")
    spec = top["memspec"].members("`memspec`", needed=needed)
    standard = spec["memoryType"].choice("`memoryType`", STANDARDS)
    size = spec["memarchitecturespec"].members("`memarchitecturespec`")

    def whole(name: str, default: int | None = None) -> int:
        if name not in size:
            if default is not None:
                return default
            raise spec["memarchitecturespec"].refusal(f"`{name}` must be given; it is absent")
        return size[name].whole(f"`{name}`", 1, 2**24)

    times = dict(spec["memtimingspec"].members("`memtimingspec`", needed=("clkMhz",)))
    clock = times.pop("clkMhz").number("`clkMhz`", 1.0, 1e5)
    timing = {name: node.whole(f"`{name}`", 0, _MAX) for name, node in times.items()}
    current: dict[str, float] = {}
    if standard in _WITH_ENERGY and "mempowerspec" in spec:
        currents = spec["mempowerspec"].members("`mempowerspec`")
        current = {n.upper(): v.number(f"`{n}`", 0.0, _MAX) for n, v in currents.items()}
        absent = [name for name in _NEEDED if name not in current]
        if absent:
            raise spec["mempowerspec"].refusal(f"`mempowerspec` must give {', '.join(absent)}")
    name = path.name.removesuffix(".json")
    source = f"memory specification {path.name}"
    try:
        made = Device(
            name=name,
            title=spec["memoryId"].text("`memoryId`") if "memoryId" in spec else name,
            reference=name,
            standard=standard,
            clock_mhz=clock,
            data_rate=whole("dataRate"),
            burst_length=whole("burstLength"),
            width_bits=whole("width"),
            n_devices=whole("nbrOfDevicesOnDIMM", 1),
            n_ranks=whole("nbrOfRanks", 1),
            n_groups=whole("nbrOfBankGroups", 1),
            n_banks=whole("nbrOfBanks"),
            n_rows=whole("nbrOfRows"),
            n_columns=whole("nbrOfColumns"),
            timing=MappingProxyType(timing),
            current=MappingProxyType(current),
            source=MappingProxyType(dict.fromkeys((*timing, *current), source)),
            is_energy_validated=False,
        )
    except InvalidArgumentError as error:
        raise spec["memarchitecturespec"].refusal(str(error)) from None
    check_device(spec["memtimingspec"], made)
    return made


def check_device(node: Node, made: Device) -> None:
    """Refuse a device whose timings are incomplete or leave no time between refreshes."""
    try:
        device_table(made)
    except InvalidArgumentError as error:
        raise node.refusal(str(error)) from None
    if made.beat_bytes < 1 or made.beat_bytes & (made.beat_bytes - 1):
        raise node.refusal(
            f"data width x devices must be a power of two of bytes; got {made.beat_bytes}"
        )
    if made.n_groups > made.n_banks or made.burst_length > made.n_columns:
        raise node.refusal("bank groups must be at most the banks, and a burst at most a row")
    if made.burst_length % made.data_rate:
        raise node.refusal("the burst length must be a multiple of the data rate")
    for interval, duration in _REFRESHES[made.standard]:
        if made.timing[interval] <= made.timing[duration]:
            raise node.refusal(
                f"`{interval}` must exceed `{duration}`, or the memory does nothing but refresh; "
                f"got {made.timing[interval]} and {made.timing[duration]}"
            )


def read_tree(path: Path) -> Node:
    """Return the content of a JSON file; DRAMSys indents with tabs, which YAML refuses."""
    return node_of(path, read_json(path))


def read_bits(node: Node) -> tuple[int, ...]:
    """Return a list of address bits."""
    return tuple(bit.whole("an address bit", 0, 62) for bit in node.items("address bits"))
