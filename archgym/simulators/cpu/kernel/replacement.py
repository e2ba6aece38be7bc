"""Compiled replacement policies, and the prefetchers of caches."""

from archgym.simulators.cpu.kernel import layout as lay
from archgym.simulators.cpu.kernel.branches import find_entry, victim_entry
from archgym.simulators.cpu.kernel.channels import new_request
from archgym.simulators.cpu.kernel.layout import Words
from archgym.simulators.kit.kernels import call_hook, helper, kept_apart, store_word

_LRU, _SRRIP, _DRRIP, _SHIP, _SRRIP_AS_SHIPPED, _DRRIP_AS_SHIPPED, _SHIP_AS_SHIPPED = range(7)
_NEXT_LINE, _STRIDE = 1, 2
_STRIDE_SIZE = 4  # key + 1, stamp, last block, last stride
_DEGREE = 3
_SHIP_SIZE, _SHIP_PRIME = 16384, 16381
# chosen: 4 EiB of memory, more than any machine; blocks of the user's policies lie below.
_MAX_BLOCK = 1 << 56


@helper
def choose_victim(m: Words, k: int, index: int) -> int:
    """Return the way of a full set that the policy evicts.

    Args:
      m: State.
      k: Base of the cache.
      index: Set.
    """
    ways = m[k + lay.K_WAYS]
    base = m[k + lay.K_RANKS] + index * ways
    best = 0
    if m[k + lay.K_REPLACEMENT] == _LRU:
        low = m[base]
        for way in range(1, ways):
            rank = m[base + way]
            if rank < low:
                low = rank
                best = way
        return best
    if m[k + lay.K_REPLACEMENT] == lay.USER_REPLACEMENT:
        return _user_victim(m, k, index)
    high = m[base]
    for way in range(1, ways):
        if m[base + way] > high:
            high = m[base + way]
            best = way
    if high < 3:
        for way in range(ways):
            m[base + way] += 3 - high
    return best


@helper
def note_hit(m: Words, k: int, index: int, way: int, kind: int, ip: int) -> None:
    """Tell the policy of a hit."""
    policy = m[k + lay.K_REPLACEMENT]
    at = index * m[k + lay.K_WAYS] + way
    rank = m[k + lay.K_RANKS] + at
    if policy == _LRU:
        if kind != lay.WRITE:
            m[rank] = m[k + lay.K_CLOCK]
            m[k + lay.K_CLOCK] += 1
    elif policy in (_SRRIP, _SRRIP_AS_SHIPPED):
        m[rank] = 0
    elif policy in (_DRRIP, _DRRIP_AS_SHIPPED):
        m[rank] = 2 if kind == lay.WRITE else 0
    elif policy == lay.USER_REPLACEMENT:
        if m[k + lay.K_HOOK_ON_HIT] != 0:
            block = m[m[k + lay.K_TAGS] + at] - 1
            _report(m, k, m[k + lay.K_HOOK_ON_HIT], at, index, block, ip, kind)
    elif kind != lay.WRITE:
        m[rank] = 0
        if policy == _SHIP:
            signature = m[k + lay.K_SIGNATURES] + at
            value = m[signature]
            if value > 1 and index % max(1, m[k + lay.K_SETS] // 64) == 0:
                counter = m[k + lay.K_SHIP] + (value >> 1) - 1
                if m[counter] < 7:
                    m[counter] += 1
            m[signature] = value | 1


@helper
def note_fill(m: Words, k: int, index: int, way: int, kind: int, ip: int, block: int) -> None:
    """Tell the policy of a fill."""
    policy = m[k + lay.K_REPLACEMENT]
    at = index * m[k + lay.K_WAYS] + way
    rank = m[k + lay.K_RANKS] + at
    if policy == _LRU:
        m[rank] = m[k + lay.K_CLOCK]
        m[k + lay.K_CLOCK] += 1
    elif policy == _SRRIP:
        m[rank] = 2
    elif policy == _DRRIP:
        m[rank] = _drrip_rank(m, k, index, kind)
    elif policy == lay.USER_REPLACEMENT:
        if m[k + lay.K_HOOK_ON_FILL] != 0:
            _report(m, k, m[k + lay.K_HOOK_ON_FILL], at, index, block, ip, kind)
    elif policy == _SHIP:
        signature = m[k + lay.K_SIGNATURES] + at
        old = m[signature]
        if old > 1 and old & 1 == 0 and index % max(1, m[k + lay.K_SETS] // 64) == 0:
            counter = m[k + lay.K_SHIP] + (old >> 1) - 1
            if m[counter] > 0:
                m[counter] -= 1
        if kind == lay.WRITE:
            m[rank] = 2
            m[signature] = 0
        else:
            value = (ip & 0xFFFFFFFF) % _SHIP_PRIME
            m[rank] = 3 if m[m[k + lay.K_SHIP] + value] == 0 else 2
            m[signature] = (value + 1) << 1


@helper
def _user_victim(m: Words, k: int, index: int) -> int:
    """Return the way that a user's policy evicts; 0 and a fault for anything else."""
    kept_apart()
    ways = m[k + lay.K_WAYS]
    memory, floats, time = m[k + lay.K_HOOK_MEMORY], m[k + lay.K_HOOK_FLOATS], m[k + lay.K_CLOCK]
    hook = m[k + lay.K_HOOK_VICTIM]
    way = call_hook(hook, index * ways, index, time, 0, 0, 0, 0, 0, memory, floats)
    if way >= 0 and way < ways:
        return int(way)
    store_word(memory, m[k + lay.K_HOOK_WAY_FAULT])
    return 0


@helper
def _report(
    m: Words, k: int, hook: int, line: int, index: int, block: int, ip: int, kind: int
) -> None:
    """Report a hit or a fill to a user's policy."""
    kept_apart()
    time = m[k + lay.K_CLOCK]
    m[k + lay.K_CLOCK] = time + 1
    memory, floats = m[k + lay.K_HOOK_MEMORY], m[k + lay.K_HOOK_FLOATS]
    call_hook(hook, line, index, block, ip, kind, time, 0, 0, memory, floats)


@helper
def _user_prefetch(m: Words, k: int, block: int, ip: int, hit: int) -> None:
    """Let a user's policy prefetch a block, or begin a look-ahead."""
    kept_apart()
    time = m[k + lay.K_STRIDE_CLOCK]
    m[k + lay.K_STRIDE_CLOCK] = time + 1
    memory, floats = m[k + lay.K_HOOK_MEMORY], m[k + lay.K_HOOK_FLOATS]
    hook = m[k + lay.K_HOOK_PREFETCH]
    if hook != 0:
        wanted = call_hook(hook, block, ip, hit, time, 0, 0, 0, 0, memory, floats)
        if wanted >= _MAX_BLOCK:
            store_word(memory, m[k + lay.K_HOOK_BLOCK_FAULT])
        elif wanted >= 0:
            _issue(m, k, int(wanted) << 6, 1)
    hook = m[k + lay.K_HOOK_STRIDE]
    if hook != 0:
        stride = call_hook(hook, block, ip, hit, time, 0, 0, 0, 0, memory, floats)
        degree = m[k + lay.K_HOOK_DEGREE]
        last = block + degree * stride
        if not (last >= 0 and last < _MAX_BLOCK):
            store_word(memory, m[k + lay.K_HOOK_BLOCK_FAULT])
        elif stride != 0:
            m[k + lay.K_AHEAD_ADDRESS] = block << 6
            m[k + lay.K_AHEAD_STRIDE] = int(stride)
            m[k + lay.K_AHEAD_DEGREE] = degree


@helper
def _drrip_rank(m: Words, k: int, index: int, kind: int) -> int:
    """Return the rank of a new block under DRRIP, and update the set duel."""
    if kind == lay.WRITE:
        return 2
    leader = index % max(2, m[k + lay.K_SETS] // 32)
    if leader == 0:
        m[k + lay.K_PSEL] = max(0, m[k + lay.K_PSEL] - 1)
        bimodal = True
    elif leader == 1:
        m[k + lay.K_PSEL] = min(1023, m[k + lay.K_PSEL] + 1)
        bimodal = False
    else:
        bimodal = m[k + lay.K_PSEL] > 511
    if not bimodal:
        return 2
    m[k + lay.K_BIP] += 1
    if m[k + lay.K_BIP] < 32:
        return 3
    m[k + lay.K_BIP] = 0
    return 2


@helper
def _issue(m: Words, k: int, address: int, fill: int) -> int:
    """Queue a prefetch of the cache's own; return 0 if its queue is full."""
    counters = m[k + lay.K_COUNTERS]
    m[counters + lay.N_PF_REQUESTED] += 1
    if m[k + lay.K_OWN_COUNT] >= m[k + lay.K_PQ]:
        return 0
    virtual = m[k + lay.K_VIRTUAL_PREFETCH]
    request = new_request(m)
    m[request + lay.R_ADDRESS] = address
    m[request + lay.R_VIRTUAL] = address if virtual else 0
    m[request + lay.R_IP] = 0
    m[request + lay.R_TYPE] = lay.PREFETCH
    m[request + lay.R_TRANSLATED] = 1 - virtual
    m[request + lay.R_WANTED] = 0
    m[request + lay.R_DATA] = 0
    m[request + lay.R_IDS] = 0
    m[request + lay.R_OWN] = 1
    m[request + lay.R_SKIP] = 1 - fill
    m[request + lay.R_ASKED] = 0
    m[request + lay.R_CHANNELS] = 0
    end = (m[k + lay.K_OWN_HEAD] + m[k + lay.K_OWN_COUNT]) & m[k + lay.K_OWN_MASK]
    m[m[k + lay.K_OWN_RING] + end] = request
    m[k + lay.K_OWN_COUNT] += 1
    m[counters + lay.N_PF_ISSUED] += 1
    return 1


@helper
def call_prefetcher(m: Words, k: int, address: int, ip: int, hit: int) -> None:
    """Let the prefetcher see a look-up; `hit` is 1 if the block is there."""
    if m[k + lay.K_PREFETCHER] == _NEXT_LINE:
        _issue(m, k, ((address >> 6) + 1) << 6, 1)
        return
    block = address >> 6
    if m[k + lay.K_PREFETCHER] == lay.USER_PREFETCHER:
        _user_prefetch(m, k, block, ip, hit)
        return
    key = ip >> 2
    entries = m[k + lay.K_STRIDES] + _STRIDE_SIZE * lay.STRIDE_WAYS * (key & (lay.STRIDE_SETS - 1))
    at = find_entry(m, entries, lay.STRIDE_WAYS, _STRIDE_SIZE, key)
    stride = 0
    if at != 0:
        stride = block - m[at + 2]
        if stride != 0 and stride == m[at + 3]:
            m[k + lay.K_AHEAD_ADDRESS] = block << 6
            m[k + lay.K_AHEAD_STRIDE] = stride
            m[k + lay.K_AHEAD_DEGREE] = _DEGREE
    else:
        at = victim_entry(m, entries, lay.STRIDE_WAYS, _STRIDE_SIZE, key)
        m[at] = key + 1
    m[k + lay.K_STRIDE_CLOCK] += 1
    m[at + 1] = m[k + lay.K_STRIDE_CLOCK]
    m[at + 2] = block
    m[at + 3] = stride


@helper
def advance_prefetcher(m: Words, k: int) -> None:
    """Take one step of an active look-ahead of the stride prefetcher."""
    address = m[k + lay.K_AHEAD_ADDRESS]
    following = address + (m[k + lay.K_AHEAD_STRIDE] << 6)
    if m[k + lay.K_VIRTUAL_PREFETCH] == 0 and following >> 12 != address >> 12:
        m[k + lay.K_AHEAD_DEGREE] = 0
        return
    fill = 1 if 2 * m[k + lay.K_MSHR_COUNT] < m[k + lay.K_MSHR] else 0
    if _issue(m, k, following, fill):
        m[k + lay.K_AHEAD_ADDRESS] = following
        m[k + lay.K_AHEAD_DEGREE] -= 1
