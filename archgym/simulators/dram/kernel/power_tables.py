"""Commands and record types of the accounts that the current-based energy equations need."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

_FAR: Final = 1 << 62

KINDS: Final = (
    "ACT", "PRE", "PREA", "RD", "WR", "RDA", "WRA", "REFA", "REFB", "REFSB",
    "PDEA", "PDEP", "PDXA", "PDXP", "SREFEN", "SREFEX", "END",
)  # fmt: skip
"""Commands of an account, in the order of their codes."""
(
    _ACT, _PRE, _PREA, _RD, _WR, _RDA, _WRA, _REFA, _REFB, _REFSB,
    _PDEA, _PDEP, _PDXA, _PDXP, _SREFEN, _SREFEX, _END,
) = range(len(KINDS))  # fmt: skip

_I = np.int64

RULES: Final = np.dtype(
    [
        ("banks_per_rank", _I),
        ("banks_per_group", _I),
        ("ras", _I),  # all durations in the clocks of the command's times
        ("read_to_precharge", _I),
        ("write_to_precharge", _I),
        ("refresh_all", _I),
        ("refresh_bank", _I),
        ("refresh_same", _I),
    ],
    align=True,
)
"""Durations that decide when a bank closes by itself."""

BANK_ACCOUNT: Final = np.dtype(
    [
        ("is_active", _I),  # opened by an activation, or being refreshed
        ("since", _I),
        ("activated", _I),
        ("precharge_at", _I),  # of an automatic precharge
        ("refreshed_at", _I),  # end of a refresh
        ("active_time", _I),
        ("counts", _I, (len(KINDS),)),  # PRE counts every transition to closed
    ],
    align=True,
)

RANK_ACCOUNT: Final = np.dtype(
    [
        ("n_active", _I),
        ("since", _I),
        ("next_close", _I),
        ("state", _I),  # code of PDEA, PDEP or SREFEN while asleep, else -1
        ("asleep_since", _I),
        ("active_time", _I),
        ("power_down_active", _I),
        ("power_down_precharged", _I),
        ("self_refresh", _I),
    ],
    align=True,
)


def blank_account(n_banks: int, n_ranks: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the accounts of banks and ranks before the first command."""
    banks = np.zeros(n_banks, dtype=BANK_ACCOUNT)
    ranks = np.zeros(n_ranks, dtype=RANK_ACCOUNT)
    banks["precharge_at"] = banks["refreshed_at"] = ranks["next_close"] = _FAR
    ranks["state"] = -1
    return banks, ranks
