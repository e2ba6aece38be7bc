"""Memory layout of TAGE and TAGE-SC-L: words of the area `G_TAGE`, counters among the weights."""

from typing import Final

N_TABLES: Final = 12
LENGTHS: Final = (4, 6, 10, 16, 25, 40, 64, 101, 160, 254, 403, 640)
TAG_BITS: Final = (8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13)
INDEX_BITS: Final = 11
ENTRIES: Final = 1 << INDEX_BITS
LAST: Final = N_TABLES - 1
RING: Final = 1024  # bits of history
TICKS: Final = 1023
N_CORRECTORS: Final = 8
CORRECTORS: Final = 1024  # counters of each table of the corrector
GLOBAL: Final = (6, 14, 27)
LOCAL: Final = (11, 5)
LOCAL_HISTORIES: Final = 256
LOOP_WAYS: Final = 4
LOOPS: Final = 16 * LOOP_WAYS
MOST_ITERATIONS: Final = 1023

# Scalars of the area; what the last prediction read follows the state.
(
    HEAD, PATH, USE_ALT, RANDOM, TICK, WITH_LOOP, THETA, TC, GLOBAL_HISTORY, INNER,
    LAST_BACKWARD, PROVIDER, ALTERNATE, LONG, OTHER, WEAK, TAGE, LOOP, IS_VALID,
    LOOP_SAYS, SUM,
) = range(21)  # fmt: skip
STARTS: Final = {RANDOM: 0xACE1, THETA: 16, WITH_LOOP: -1}
"""First value of each word of the area that is not 0."""
FOLDS: Final = 32  # of index, tag, and tag with one bit less, by table
INDICES: Final = FOLDS + 3 * N_TABLES
TAGS: Final = INDICES + N_TABLES
CORRECTOR_INDICES: Final = TAGS + N_TABLES
HISTORY: Final = 128
LOCALS: Final = HISTORY + RING
LOOP_TABLE: Final = LOCALS + LOCAL_HISTORIES
# An entry of the loop predictor.
L_TAG, L_PAST, L_CURRENT, L_CONFIDENCE, L_AGE, L_DIRECTION = range(6)
L_SIZE: Final = 6
ENTRY_TAGS: Final = LOOP_TABLE + L_SIZE * LOOPS
AREA: Final = ENTRY_TAGS + N_TABLES * ENTRIES
"""Words of the area."""

# Places among the weights.
BASE: Final = 1 << 14  # two-bit counters of the base predictor, from 0
COUNTERS: Final = BASE
USEFUL: Final = COUNTERS + N_TABLES * ENTRIES
CORRECTOR: Final = USEFUL + N_TABLES * ENTRIES
WEIGHTS: Final = CORRECTOR + N_CORRECTORS * CORRECTORS
"""Counters of both."""
