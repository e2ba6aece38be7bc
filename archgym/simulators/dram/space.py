"""Design spaces of the DRAM simulator: settings of a memory controller.

Values are spelled as DRAMSys spells them. `archgym-2023` and `archgym-2023-rl` are the spaces of
the published ArchGym; `default` is wider where those are nearly inert, and leaves out what no one
can build: a controller that never refreshes loses data. `dramsys` has every setting that DRAMSys
takes, without conditions, so that any of its configurations is a design.

A parameter is inactive where the model proves that it has no effect:

- the arbiter Simple passes one request at a time, so it has no window of active transactions;
- without refresh its limits have no effect;
- with a request buffer of one request, all three kinds of buffer admit a request only when none is
  stored, and every scheduler, command multiplexer and response queue has one request to choose
  from, in the order of arrival;
- the multiplexer Strict issues column commands in the order of arrival, so data return in that
  order and both response queues do the same.
"""

import numpy as np

from archgym.simulators.dram.dramsys.kernel.commands import (
    COMMAND_MUXES,
    CONTROLLER_CODES,
    CONTROLLER_COLUMNS,
    PAGE_POLICIES,
    POWER_DOWN_POLICIES,
)
from archgym.simulators.kit import (
    Categorical,
    Condition,
    Constraint,
    DesignSpace,
    Expression,
    Integer,
    Ordinal,
    P,
    Parameter,
    PowerOfTwo,
    unknown_name,
)

PUBLISHED = {"archgym-2023": "its ant-colony agent", "archgym-2023-rl": "its RL agents"}
"""Published spaces, with who used them."""
SPACE_NAMES = ("default", *PUBLISHED, "dramsys")

# A parameter that a space leaves out has this value: what the published ArchGym fixes.
FIXED = {
    "command_mux": "Oldest",
    "power_down_policy": "NoPowerDown",
    "refresh_policy": "AllBank",
}

# Sub-systems of the controller, for one agent each.
GROUPS = {
    "page-and-scheduling": ("page_policy", "scheduler", "command_mux"),
    "queues": ("scheduler_buffer", "request_buffer_size", "response_queue"),
    "refresh": ("refresh_policy", "refresh_max_postponed", "refresh_max_pulled_in"),
    "interconnect": ("arbiter", "max_active_transactions"),
    "memory": ("address_mapping", "power_down_policy"),
}

# The default design is the configuration `fr_fcfs` that comes with DRAMSys 4.0 (May 2021).
_PAGE_POLICY = Categorical(
    "page_policy",
    PAGE_POLICIES,
    default="Open",
    doc="When a row is closed: on a conflict, with its last access, or as waiting requests say.",
)
_SCHEDULER = Categorical(
    "scheduler",
    ("Fifo", "FrFcfsGrp", "FrFcfs"),
    default="FrFcfs",
    doc="Which waiting request a bank serves: the oldest, or a row hit first, or grouped by kind.",
)
_SCHEDULER_BUFFER = Categorical(
    "scheduler_buffer",
    ("Bankwise", "ReadWrite", "Shared"),
    default="Bankwise",
    doc="What the request buffer's size limits: a bank's requests, reads and writes, or all.",
)
_RESPONSE_QUEUE = Categorical(
    "response_queue",
    ("Fifo", "Reorder"),
    default="Fifo",
    doc="Order of responses: as data arrive, or as the requests came.",
)
_ARBITER = Categorical(
    "arbiter",
    ("Simple", "Fifo", "Reorder"),
    default="Simple",
    doc="Front end: hold the player back, or queue its requests; give responses back in order.",
)
_COMMAND_MUX = Categorical(
    "command_mux",
    COMMAND_MUXES,
    default="Oldest",
    doc="Order of column commands: the earliest possible first, or as the requests came.",
)
_POWER_DOWN_POLICY = Categorical(
    "power_down_policy",
    POWER_DOWN_POLICIES,
    default="NoPowerDown",
    doc="Whether an idle rank powers down, in deepening steps.",
)
_PUBLISHED_REFRESH = Categorical(
    "refresh_policy",
    ("NoRefresh", "AllBank"),
    default="AllBank",
    doc="What is refreshed at once; NoRefresh loses data and is here for comparison.",
)
_LIMITS = (
    ("refresh_max_postponed", "Most refreshes that wait for a quiet time."),
    ("refresh_max_pulled_in", "Most refreshes done ahead in a quiet time."),
)
_BUFFER_DOC = "Size of the request buffer."
_WINDOW_DOC = "Most requests that are under way."

_NEEDS_CHOICE = P("request_buffer_size") > 1
_NEEDS_WINDOW = P("arbiter") != "Simple"


def design_space(
    name: str,
    address_mappings: tuple[str, ...],
    has_per_bank_refresh: bool,
) -> DesignSpace:
    """Return the space with this name for a device.

    Args:
      name: One of `SPACE_NAMES`.
      address_mappings: Mappings of the device, its default first; none where one is given.
      has_per_bank_refresh: True if its banks can refresh one at a time.

    Raises:
      UnknownNameError: There is no such space.
    """
    if name in PUBLISHED:
        return _published(name)
    if name == "default":
        return _default(address_mappings, has_per_bank_refresh)
    if name == "dramsys":
        return _complete(address_mappings, has_per_bank_refresh)
    raise unknown_name("space", name, SPACE_NAMES)


def _published(name: str) -> DesignSpace:
    """Return a space of ten parameters; the two differ in the steps of their numbers."""
    is_rl = name == "archgym-2023-rl"
    kind = PowerOfTwo if is_rl else Integer
    size, limits = 128 if is_rl else 8, 8
    return DesignSpace(
        name,
        (
            _PAGE_POLICY,
            _SCHEDULER,
            _SCHEDULER_BUFFER,
            kind("request_buffer_size", 1, size, default=8, unit="requests", doc=_BUFFER_DOC),
            _RESPONSE_QUEUE,
            _PUBLISHED_REFRESH,
            *(
                kind(limit, 1, limits, default=8, unit="refreshes", doc=doc)
                for limit, doc in _LIMITS
            ),
            _ARBITER,
            PowerOfTwo(
                "max_active_transactions", 1, 128, default=128, unit="requests", doc=_WINDOW_DOC
            ),
        ),
        conditions=_conditions(
            {
                "refresh_max_postponed": P("refresh_policy") != "NoRefresh",
                "refresh_max_pulled_in": P("refresh_policy") != "NoRefresh",
                "response_queue": _NEEDS_CHOICE,
            }
        ),
        doc=f"The ten parameters of the published ArchGym, as {PUBLISHED[name]} had them.",
    )


def _default(address_mappings: tuple[str, ...], has_per_bank_refresh: bool) -> DesignSpace:
    refresh_policy = Categorical(
        "refresh_policy",
        ("AllBank", "PerBank"),
        default="AllBank",
        doc="What is refreshed at once: all banks of a rank, or one bank.",
    )
    parameters: tuple[Parameter, ...] = (
        _PAGE_POLICY,
        _SCHEDULER,
        _SCHEDULER_BUFFER,
        # chosen: up to 128, closer together where one more request still matters.
        Ordinal(
            "request_buffer_size",
            (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128),
            default=8,
            # Exact for any size; chosen: no controller that we know has more.
            widest=(192, 256),
            unit="requests",
            doc=_BUFFER_DOC,
        ),
        _COMMAND_MUX,
        _RESPONSE_QUEUE,
        *((refresh_policy,) if has_per_bank_refresh else ()),
        # At most 8 may be outstanding or ahead: JEDEC JESD79-3F, section 4.13 (DDR3).
        # chosen: coarser than the published 1 to 8, which change little, but with 0.
        *(
            Ordinal(limit, (0, 1, 2, 4, 8), default=8, unit="refreshes", doc=doc)
            for limit, doc in _LIMITS
        ),
        _POWER_DOWN_POLICY,
        _ARBITER,
        PowerOfTwo(
            "max_active_transactions",
            1,
            256,
            default=128,
            widest=1024,
            unit="requests",
            doc=_WINDOW_DOC,
        ),
        *_mappings(address_mappings),
    )
    return DesignSpace(
        "default",
        parameters,
        constraints=(
            Constraint(
                "strict-needs-fifo",
                (P("command_mux") == "Oldest") | (P("scheduler") == "Fifo"),
                "the multiplexer Strict issues column commands in the order of arrival, so a "
                "scheduler that lets row hits overtake can wait for ever; Strict needs Fifo",
            ),
        ),
        conditions=_conditions(
            {
                "command_mux": _NEEDS_CHOICE,
                "response_queue": _NEEDS_CHOICE & (P("command_mux") == "Oldest"),
            }
        ),
        doc="A controller for one device: the published parameters, wider, and five more.",
    )


def _mappings(names: tuple[str, ...]) -> tuple[Parameter, ...]:
    if not names:
        return ()
    return (
        Categorical(
            "address_mapping",
            names,
            default=names[0],
            doc="Which address bits choose row, bank and column, most significant first.",
        ),
    )


def _size(name: str, default: int, doc: str) -> Integer:
    # chosen: far above the largest size in any recorded configuration, 256.
    return Integer(name, 1, 1024, default=default, unit="requests", doc=doc)


def _complete(address_mappings: tuple[str, ...], has_per_bank_refresh: bool) -> DesignSpace:
    """Return every setting of DRAMSys, whether or not it has an effect."""
    return DesignSpace(
        "dramsys",
        (
            _PAGE_POLICY,
            _SCHEDULER,
            _SCHEDULER_BUFFER,
            _size("request_buffer_size", 8, _BUFFER_DOC),
            _COMMAND_MUX,
            _RESPONSE_QUEUE,
            Categorical(
                "refresh_policy",
                ("NoRefresh", "AllBank", *(("PerBank",) if has_per_bank_refresh else ())),
                default="AllBank",
                doc="What is refreshed at once; NoRefresh loses data.",
            ),
            *(
                # chosen: eight times what JEDEC allows.
                Integer(limit, 0, 64, default=8, unit="refreshes", doc=doc)
                for limit, doc in _LIMITS
            ),
            _POWER_DOWN_POLICY,
            _ARBITER,
            _size("max_active_transactions", 128, _WINDOW_DOC),
            *_mappings(address_mappings),
        ),
        doc="Every setting that DRAMSys takes, for its own configurations.",
    )


def _conditions(own: dict[str, Expression]) -> tuple[Condition, ...]:
    """Return a space's own conditions and those of every space."""
    shared = {
        "scheduler": _NEEDS_CHOICE,
        "scheduler_buffer": _NEEDS_CHOICE,
        "max_active_transactions": _NEEDS_WINDOW,
    }
    return tuple(Condition(name, when) for name, when in (shared | own).items())


def machine_of(space: DesignSpace, indices: np.ndarray) -> np.ndarray:
    """Return (n, 12) int64, the controllers of designs as the kernel of DRAMSys reads them."""
    columns = []
    for name in CONTROLLER_COLUMNS:
        if name in space.names:
            place = space.names.index(name)
            parameter = space.parameters[place]
            values = [parameter.value(i) for i in range(parameter.size)]
            table = np.array([_code(name, value) for value in values], dtype=np.int64)
            columns.append(table[indices[:, place]])
        else:
            columns.append(np.full(len(indices), _code(name, FIXED[name]), dtype=np.int64))
    return np.stack(columns, axis=1)


def _code(name: str, value: object) -> int:
    if name in CONTROLLER_CODES:
        return CONTROLLER_CODES[name].index(str(value))
    return int(str(value))
