"""Design space of a device family: the memory's organisation and its controllers' settings."""

from typing import Final

from archgym.simulators.dram.ramulator.kernel.addresses import MAPPINGS
from archgym.simulators.dram.ramulator.kernel.run import ROW_POLICIES, SCHEDULERS, WCK_SYNCS
from archgym.simulators.dram.ramulator.machine import Standard
from archgym.spaces.design import Condition
from archgym.spaces.expression import P
from archgym.spaces.parameter import Categorical, Ordinal, Parameter, PowerOfTwo
from archgym.spaces.space import DesignSpace

DEFAULTS: Final = {
    "ddr4": ("DDR4_8Gb_x8", "DDR4_3200AA"),
    "ddr5": ("DDR5_16Gb_x8", "DDR5_4800BN"),
    "gddr6": ("GDDR6_16Gb_x16", "GDDR6_14000_1350mV_double"),
    "hbm3": ("HBM3_16Gb_8hi", "HBM3_6400Mbps"),
    "lpddr5": ("LPDDR5_16Gb_x16", "LPDDR5_6400"),
}
"""Organisation and speed bin of the default design, by family."""

GROUPS: Final = {
    "memory": ("organisation", "speed_bin", "ranks", "channels"),
    "addresses": ("interleave_bits", "address_mapping"),
    "scheduling": ("scheduler", "row_policy", "cap", "wck_sync"),
    "refresh": ("refresh", "scatter_interval"),
    "buffers": ("read_buffer", "write_buffer", "wr_low", "wr_high"),
}


def family_space(made: Standard) -> DesignSpace:
    """Return the design space of a family."""
    organisation, speed = DEFAULTS[made.family]
    organisations, bins = tuple(made.organisations), tuple(made.bins)
    parameters: list[Parameter] = [
        Categorical(
            name="organisation",
            choices=organisations,
            default=organisation,
            doc="Density and width of a device.",
        )
    ]
    if len(bins) > 1:
        parameters.append(
            Categorical(
                name="speed_bin",
                choices=bins,
                default=speed if speed in bins else bins[0],
                doc="Speed bin: clock and timings.",
            )
        )
    if "Rank" in made.levels:
        parameters.append(
            PowerOfTwo(name="ranks", low=1, high=2, default=1, unit="ranks", doc="Ranks a channel.")
        )
    parameters += [
        # chosen: up to eight channels, half of an HBM3 stack; one device family each.
        PowerOfTwo(
            name="channels",
            low=1,
            high=8,
            default=2,
            unit="channels",
            doc="Channels, each with its own controller.",
        ),
        Ordinal(
            name="interleave_bits",
            levels=(0, 1, 2, 4, 6),
            default=0,
            unit="bits",
            doc="Address bits above the burst that stay within one channel.",
        ),
        Categorical(
            name="address_mapping",
            choices=MAPPINGS,
            default="RoBaRaCoCh",
            doc="Order of row, bank, rank and column bits; MOP4CLXOR mixes them.",
        ),
        Categorical(
            name="scheduler",
            choices=SCHEDULERS,
            default="FRFCFS",
            doc="First ready, first come; RowHit never closes a row that an older request hits.",
        ),
        Categorical(
            name="row_policy",
            choices=ROW_POLICIES,
            default="Open",
            doc="Rows stay open until a conflict, or close after `cap` column commands.",
        ),
        Ordinal(
            name="cap",
            levels=(1, 2, 4, 8, 16),
            default=4,
            unit="commands",
            doc="Column commands after which ClosedCAP closes a row.",
        ),
        # NoRefresh loses data, so that no one can build it.
        *(
            [
                Categorical(
                    name="refresh",
                    choices=("AllBank", "PerBank"),
                    default="AllBank",
                    doc="Banks that one refresh covers.",
                )
            ]
            if made.per_bank_refresh
            else []
        ),
        Ordinal(
            name="scatter_interval",
            levels=(0, 200, 900),
            default=0,
            unit="ticks",
            doc="Time between all-bank refreshes of neighbouring ranks; 0 refreshes all at once.",
        ),
        # chosen: the buffer sizes and watermarks of the recorded rows.
        *(
            PowerOfTwo(name=name, low=4, high=128, default=32, unit="requests", doc=doc)
            for name, doc in (
                ("read_buffer", "Reads that a controller holds."),
                ("write_buffer", "Writes that a controller holds."),
            )
        ),
        Ordinal(
            name="wr_low",
            levels=(0.1, 0.2, 0.3, 0.4, 0.5),
            default=0.2,
            unit="",
            doc="Share of the write buffer below which a controller returns to reads.",
        ),
        Ordinal(
            name="wr_high",
            levels=(0.5, 0.6, 0.8, 0.9),
            default=0.8,
            unit="",
            doc="Share of the write buffer above which a controller turns to writes.",
        ),
    ]
    if made.kind == "split-activation":
        parameters.append(
            Categorical(
                name="wck_sync",
                choices=WCK_SYNCS,
                default="need_sync",
                doc="Data clock: synchronised before each burst of commands, or always running.",
            )
        )
    conditions = [
        Condition("cap", P("row_policy") == "ClosedCAP"),
        Condition("interleave_bits", P("channels") > 1),
    ]
    if made.per_bank_refresh:
        conditions.append(Condition("scatter_interval", P("refresh") == "AllBank"))
    return DesignSpace("default", tuple(parameters), conditions=tuple(conditions))
