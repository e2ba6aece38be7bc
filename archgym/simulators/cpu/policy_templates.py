"""Replacement and prefetch policies to start from; they are built into the model, too."""

from collections.abc import Mapping
from typing import Final

_LRU = '''"""Least recently used; writes from above do not count as a use."""
DOMAIN = "cache"
last = per_line(bits=32)


def on_hit(line, set, block, ip, kind, time):
    if kind != WRITE:
        last[line] = time


def on_fill(line, set, block, ip, kind, time):
    last[line] = time


def victim(line, set, time):
    best = 0
    for way in range(1, WAYS):
        if last[line + way] < last[line + best]:
            best = way
    return best
'''

_VICTIM = """

def victim(line, set, time):
    best = 0
    for way in range(1, WAYS):
        if interval[line + way] > interval[line + best]:
            best = way
    grown = 3 - interval[line + best]
    if grown > 0:
        for way in range(WAYS):
            interval[line + way] += grown
    return best
"""

_SRRIP = (
    '''"""Static re-reference interval prediction (Jaleel et al., ISCA 2010)."""
DOMAIN = "cache"
LONG = 2
interval = per_line(bits=2, start=3)


def on_hit(line, set, block, ip, kind, time):
    interval[line] = 0


def on_fill(line, set, block, ip, kind, time):
    interval[line] = LONG
'''
    + _VICTIM
)

_DRRIP = (
    '''"""Dynamic re-reference interval prediction, 32 leader sets (Jaleel et al., ISCA 2010)."""
DOMAIN = "cache"
LEADERS = 32
interval = per_line(bits=2, start=3)
selector = table(1, bits=10, start=512)
throttle = table(1, bits=6)


def on_hit(line, set, block, ip, kind, time):
    interval[line] = 2 if kind == WRITE else 0


def on_fill(line, set, block, ip, kind, time):
    rank = 2
    if kind != WRITE:
        leader = set % max(2, SETS // LEADERS)
        bimodal = selector[0] > 511
        if leader == 0:
            selector[0] = max(0, selector[0] - 1)
            bimodal = True
        elif leader == 1:
            selector[0] = min(1023, selector[0] + 1)
            bimodal = False
        if bimodal:
            throttle[0] += 1
            rank = 3
            if throttle[0] >= 32:
                throttle[0] = 0
                rank = 2
    interval[line] = rank
'''
    + _VICTIM
)

_SHIP = (
    '''"""Signature-based hit prediction on 64 sampled sets (Wu et al., MICRO 2011)."""
DOMAIN = "cache"
SAMPLED = 64
ENTRIES = 16381
interval = per_line(bits=2, start=3)
signature = per_line(bits=15)
reused = per_line(bits=1)
counter = table(16381, bits=3, start=1)


def on_hit(line, set, block, ip, kind, time):
    if kind != WRITE:
        interval[line] = 0
        if signature[line] > 0 and set % max(1, SETS // SAMPLED) == 0:
            counter[signature[line] - 1] = min(counter[signature[line] - 1] + 1, 7)
        reused[line] = 1


def on_fill(line, set, block, ip, kind, time):
    if signature[line] > 0 and reused[line] == 0 and set % max(1, SETS // SAMPLED) == 0:
        counter[signature[line] - 1] = max(counter[signature[line] - 1] - 1, 0)
    reused[line] = 0
    if kind == WRITE:
        interval[line] = 2
        signature[line] = 0
    else:
        value = (ip & 4294967295) % ENTRIES
        interval[line] = 3 if counter[value] == 0 else 2
        signature[line] = value + 1
'''
    + _VICTIM
)

_NEXT_LINE = '''"""Next line: each look-up prefetches the block that follows."""
DOMAIN = "cache"


def prefetch(block, ip, hit, time):
    return block + 1
'''

_IP_STRIDE = '''"""Stride of each instruction; two equal strides begin a look-ahead."""
DOMAIN = "cache"
DEGREE = 3
SETS_OF_IPS = 256
MIDDLE = 2147483648
keys = table(1024, bits=32)
stamps = table(1024, bits=32)
blocks = table(1024, bits=32)
strides = table(1024, bits=32, start=2147483648)


def stride(block, ip, hit, time):
    key = (ip >> 2) % 4294967295 + 1
    base = ((ip >> 2) % SETS_OF_IPS) * 4
    found = -1
    unused = -1
    oldest = base
    for way in range(4):
        entry = base + way
        if keys[entry] == key:
            found = entry
        elif keys[entry] == 0:
            unused = entry
        elif stamps[entry] < stamps[oldest]:
            oldest = entry
    step = 0
    ahead = 0
    if found >= 0:
        step = block - blocks[found]
        if step != 0 and step == strides[found] - MIDDLE:
            ahead = step
    else:
        found = unused if unused >= 0 else oldest
        keys[found] = key
    stamps[found] = time + 1
    blocks[found] = block
    strides[found] = step + MIDDLE
    return ahead
'''

TEMPLATES: Final[Mapping[str, str]] = {
    "lru": _LRU,
    "srrip": _SRRIP,
    "drrip": _DRRIP,
    "ship": _SHIP,
    "next-line": _NEXT_LINE,
    "ip-stride": _IP_STRIDE,
}
"""Source by name."""
