"""Design spaces of device families under Ramulator's controllers."""

from collections.abc import Mapping
from typing import Any, Final

from archgym.simulators.dram.ramulator.kernel.run import (
    MAPPINGS,
    ROW_POLICIES,
    SCHEDULERS,
    WCK_SYNCS,
    Configuration,
)
from archgym.simulators.dram.ramulator.machine import Standard
from archgym.simulators.kit import (
    Categorical,
    Condition,
    DesignSpace,
    Ordinal,
    P,
    Parameter,
    PowerOfTwo,
)

# chosen: the front end never limits eight channels, which take one burst a tick each at most.
_WIDTH: Final = 8
_DEFAULTS: Final = {
    "ddr4": ("DDR4_8Gb_x8", "DDR4_3200AA"),
    "ddr5": ("DDR5_16Gb_x8", "DDR5_4800BN"),
    "gddr6": ("GDDR6_16Gb_x16", "GDDR6_14000_1350mV_double"),
    "hbm3": ("HBM3_16Gb_8hi", "HBM3_6400Mbps"),
    "lpddr5": ("LPDDR5_16Gb_x16", "LPDDR5_6400"),
}
"""Organisation and speed bin of the default design, by family."""
# Settings of the others are Ramulator's own. Mobile memories refresh bank by bank (JEDEC JESD209-5,
# REFpb), and their controllers hash banks and leave a row after four lines: D. Kaseridis et al.,
# *Minimalist open-page*, MICRO 2011. In order, one hot row costs LPDDR5 eight times the p99.
_SHIPPED: Final = {"lpddr5": ("MOP4CLXOR", "PerBank")}

FAMILY_GROUPS: Final = {
    "memory": ("organisation", "speed_bin", "ranks", "channels"),
    "addresses": ("interleave_bits", "address_mapping"),
    "scheduling": ("scheduler", "row_policy", "cap", "wck_sync"),
    "refresh": ("refresh", "scatter_interval"),
    "buffers": ("read_buffer", "write_buffer", "wr_low", "wr_high"),
}


def family_space(made: Standard) -> DesignSpace:
    """Return the design space of a family."""
    organisation, speed = _DEFAULTS[made.family]
    mapping, refresh = _SHIPPED.get(made.family, (MAPPINGS[0], "AllBank"))
    # A channel of DDR5 has half of a module's data pins.
    unit, doc = "channels", "Channels, each with its own controller."
    if made.family == "ddr5":
        unit, doc = "subchannels", "Subchannels of 32 bits with a controller each, two a module."
    organisations, bins = tuple(made.organisations), tuple(made.bins)
    # NoRefresh loses data, so that no one can build it.
    parameters: list[Parameter | None] = [
        Categorical(
            "organisation",
            organisations,
            default=organisation,
            doc="Density and width of a device.",
        ),
        Categorical(
            "speed_bin",
            bins,
            default=speed if speed in bins else bins[0],
            doc="Speed bin: clock and timings.",
        )
        if len(bins) > 1
        else None,
        PowerOfTwo("ranks", 1, 2, default=1, unit="ranks", doc="Ranks a channel.")
        if "Rank" in made.levels
        else None,
        # chosen: up to eight channels, half of an HBM3 stack; one device family each.
        PowerOfTwo(
            "channels",
            1,
            8,
            default=2,
            unit=unit,
            doc=doc,
        ),
        Ordinal(
            "interleave_bits",
            (0, 1, 2, 4, 6),
            default=0,
            unit="bits",
            doc="Address bits above the burst that stay within one channel.",
        ),
        Categorical(
            "address_mapping",
            MAPPINGS,
            default=mapping,
            doc="Order of row, bank, rank and column bits; MOP4CLXOR mixes them.",
        ),
        Categorical(
            "scheduler",
            SCHEDULERS,
            default="FRFCFS",
            doc="First ready, first come; RowHit never closes a row that an older request hits.",
        ),
        Categorical(
            "row_policy",
            ROW_POLICIES,
            default="Open",
            doc="Rows stay open until a conflict, or close after `cap` column commands.",
        ),
        Ordinal(
            "cap",
            (1, 2, 4, 8, 16),
            default=4,
            unit="commands",
            doc="Column commands after which ClosedCAP closes a row.",
        ),
        Categorical(
            "refresh",
            ("AllBank", "PerBank"),
            default=refresh,
            doc="Banks that one refresh covers.",
        )
        if made.per_bank_refresh
        else None,
        Ordinal(
            "scatter_interval",
            (0, 200, 900),
            default=0,
            unit="ticks",
            doc="Time between all-bank refreshes of neighbouring ranks; 0 refreshes all at once.",
        ),
        # chosen: the buffer sizes and watermarks of the recorded rows.
        *(
            PowerOfTwo(name, 4, 128, default=32, unit="requests", doc=doc)
            for name, doc in (
                ("read_buffer", "Reads that a controller holds."),
                ("write_buffer", "Writes that a controller holds."),
            )
        ),
        Ordinal(
            "wr_low",
            (0.1, 0.2, 0.3, 0.4, 0.5),
            default=0.2,
            doc="Share of the write buffer below which a controller returns to reads.",
        ),
        Ordinal(
            "wr_high",
            (0.5, 0.6, 0.8, 0.9),
            default=0.8,
            doc="Share of the write buffer above which a controller turns to writes.",
        ),
        Categorical(
            "wck_sync",
            WCK_SYNCS,
            default="need_sync",
            doc="Data clock: synchronised before each burst of commands, or always running.",
        )
        if made.kind == "split-activation"
        else None,
    ]
    conditions = [
        Condition("cap", P("row_policy") == "ClosedCAP"),
        Condition("interleave_bits", P("channels") > 1),
    ]
    if made.per_bank_refresh:
        conditions.append(Condition("scatter_interval", P("refresh") == "AllBank"))
    present = tuple(parameter for parameter in parameters if parameter is not None)
    return DesignSpace("default", present, conditions=tuple(conditions))


def family_machine_of(made: Standard, design: Mapping[str, object]) -> Configuration:
    """Return the controllers and the memory of a design of a family."""
    renamed = {"speed_bin": "timing", "address_mapping": "mapping"}
    settings: dict[str, Any] = {renamed.get(name, name): v for name, v in design.items()}
    return Configuration(**{"timing": next(iter(made.bins)), **settings}, width=_WIDTH)
