"""Compiled TAGE and TAGE-SC-L: direction predictors with tagged tables of long histories.

Source: A. Seznec and P. Michaud, *A case for (partially) tagged geometric history length branch
prediction*, JILP 2006; A. Seznec, *A new case for the TAGE branch predictor*, MICRO 2011, and
*TAGE-SC-L branch predictors again*, CBP 2016. Sizes are those of a 64-KiB class: TAGE has 12 tables
of 2,048 entries, the corrector 8 tables of 1,024 counters, the loop predictor 64 entries. Counters
lie in the weights `w`, all else in the area `G_TAGE`.
"""

from archgym.simulators.cpu.kernel import layout as lay
from archgym.simulators.cpu.kernel import tage_layout as tl
from archgym.simulators.cpu.kernel.layout import Words
from archgym.simulators.kit.kernels import helper, kept_apart


@helper
def move(w: Words, index: int, up: int, low: int, high: int) -> None:
    """Move a saturating counter by one."""
    value = w[index]
    if up != 0:
        if value < high:
            w[index] = value + 1
    elif value > low:
        w[index] = value - 1


@helper
def predict_tage(m: Words, w: Words, ip: int, has_corrector: int) -> int:
    """Return the predicted direction of a conditional branch, 1 if taken."""
    kept_apart()
    t = m[lay.G_TAGE]
    h = ip ^ (ip >> 2)
    path = m[t + tl.PATH]
    provider = alternate = -1
    for i in range(tl.N_TABLES):
        p = path & ((1 << min(16, tl.LENGTHS[i])) - 1)
        fold = m[t + tl.FOLDS + 3 * i]
        index = i * tl.ENTRIES + ((h ^ (h >> (i + 1)) ^ fold ^ p ^ (p >> 11)) & (tl.ENTRIES - 1))
        tag = h ^ m[t + tl.FOLDS + 3 * i + 1] ^ (m[t + tl.FOLDS + 3 * i + 2] << 1)
        tag &= (1 << tl.TAG_BITS[i]) - 1
        m[t + tl.INDICES + i] = index
        m[t + tl.TAGS + i] = tag
        if m[t + tl.ENTRY_TAGS + index] == tag:
            alternate = provider
            provider = i
    base = w[h & (tl.BASE - 1)]
    other = 1 if base >= 2 else 0
    if alternate >= 0:
        other = 1 if w[tl.COUNTERS + m[t + tl.INDICES + alternate]] >= 0 else 0
    long, weak = other, 0
    confidence = 3 if base == 0 or base == 3 else 0
    if provider >= 0:
        at = m[t + tl.INDICES + provider]
        counter = w[tl.COUNTERS + at]
        long = 1 if counter >= 0 else 0
        confidence = counter if counter >= 0 else -1 - counter
        weak = 1 if confidence == 0 and w[tl.USEFUL + at] == 0 else 0
    found = other if weak != 0 and m[t + tl.USE_ALT] >= 0 else long
    m[t + tl.PROVIDER], m[t + tl.ALTERNATE] = provider, alternate
    m[t + tl.LONG], m[t + tl.OTHER], m[t + tl.WEAK], m[t + tl.TAGE] = long, other, weak, found
    if has_corrector == 0:
        return found
    return _corrected(m, w, h, found, confidence)


@helper
def _corrected(m: Words, w: Words, h: int, found: int, confidence: int) -> int:
    """Return what loop predictor and corrector make of TAGE's prediction."""
    t = m[lay.G_TAGE]
    first = found
    m[t + tl.LOOP] = m[t + tl.IS_VALID] = 0
    for way in range(tl.LOOP_WAYS):
        at = t + tl.LOOP_TABLE + tl.L_SIZE * (tl.LOOP_WAYS * (h & 15) + way)
        if m[at + tl.L_TAG] == (h >> 4) & 1023:
            m[t + tl.LOOP] = at
            says = m[at + tl.L_DIRECTION]
            if m[at + tl.L_CURRENT] + 1 == m[at + tl.L_PAST]:
                says = 1 - says
            m[t + tl.LOOP_SAYS] = says
            if m[at + tl.L_CONFIDENCE] == 3:
                m[t + tl.IS_VALID] = 1
                if m[t + tl.WITH_LOOP] >= 0:
                    first = says
            break
    past = m[t + tl.GLOBAL_HISTORY]
    local = m[t + tl.LOCALS + (h & (tl.LOCAL_HISTORIES - 1))]
    places = t + tl.CORRECTOR_INDICES
    m[places] = 2 * h + first
    m[places + 1] = 8 * h + 2 * confidence + first
    for k in range(3):
        x = past & ((1 << tl.GLOBAL[k]) - 1)
        m[places + 2 + k] = 2 * (h ^ (h >> 3) ^ x ^ (x >> 10) ^ (x >> 20)) + first
    for k in range(2):
        z = local & ((1 << tl.LOCAL[k]) - 1)
        m[places + 5 + k] = 2 * (h ^ (h >> 5) ^ z ^ (z << 3)) + first
    m[places + 7] = 2 * (h ^ (m[t + tl.INNER] << 3)) + first
    total = 0
    for k in range(tl.N_CORRECTORS):
        index = tl.CORRECTOR + k * tl.CORRECTORS + (m[places + k] & (tl.CORRECTORS - 1))
        m[places + k] = index
        total += 2 * w[index] + 1
    m[t + tl.SUM] = total
    says = 1 if total >= 0 else 0
    bar = m[t + tl.THETA] // 2 if confidence == 3 else m[t + tl.THETA] // 4 if confidence > 0 else 0
    return says if abs(total) >= bar else first


@helper
def update_tage(
    m: Words, w: Words, ip: int, kind: int, taken: int, following: int, has_corrector: int
) -> None:
    """Teach a branch that has entered; one that is not conditional enters the histories only."""
    kept_apart()
    t = m[lay.G_TAGE]
    h = ip ^ (ip >> 2)
    if kind == 2 or kind == 6:
        if has_corrector != 0:
            _update_corrector(m, w, taken)
            _update_loop(m, h, taken)
        _update_tables(m, w, h, taken)
        if has_corrector != 0:
            _note_outcome(m, ip, h, taken, following)
    head = (m[t + tl.HEAD] - 1) & (tl.RING - 1)
    m[t + tl.HEAD] = head
    m[t + tl.HISTORY + head] = taken
    for i in range(tl.N_TABLES):
        leaving = m[t + tl.HISTORY + ((head + tl.LENGTHS[i]) & (tl.RING - 1))]
        for k in range(3):
            width = tl.INDEX_BITS if k == 0 else tl.TAG_BITS[i] + 1 - k
            fold = (m[t + tl.FOLDS + 3 * i + k] << 1) ^ taken ^ (leaving << (tl.LENGTHS[i] % width))
            m[t + tl.FOLDS + 3 * i + k] = (fold ^ (fold >> width)) & ((1 << width) - 1)
    m[t + tl.PATH] = (2 * m[t + tl.PATH] + (h & 1)) & 0xFFFF


@helper
def _update_tables(m: Words, w: Words, h: int, taken: int) -> None:
    t = m[lay.G_TAGE]
    provider, alternate = m[t + tl.PROVIDER], m[t + tl.ALTERNATE]
    long, other, weak = m[t + tl.LONG], m[t + tl.OTHER], m[t + tl.WEAK]
    if provider < 0:
        move(w, h & (tl.BASE - 1), taken, 0, 3)
    else:
        at = m[t + tl.INDICES + provider]
        if weak != 0 and long != other:
            move(m, t + tl.USE_ALT, 1 if other == taken else 0, -8, 7)
        if w[tl.USEFUL + at] == 0:
            if alternate >= 0:
                move(w, tl.COUNTERS + m[t + tl.INDICES + alternate], taken, -4, 3)
            else:
                move(w, h & (tl.BASE - 1), taken, 0, 3)
        move(w, tl.COUNTERS + at, taken, -4, 3)
        if long != other:
            move(w, tl.USEFUL + at, 1 if long == taken else 0, 0, 3)
    if m[t + tl.TAGE] != taken and provider < tl.LAST and not (weak != 0 and long == taken):
        _allocate(m, w, provider, taken)


@helper
def _allocate(m: Words, w: Words, provider: int, taken: int) -> None:
    """Give a branch that was predicted wrong an entry in a table of longer history."""
    t = m[lay.G_TAGE]
    chance = _next_random(m)
    first = provider + 1
    if chance & 1 != 0 and first < tl.LAST:
        first += 1
    if chance & 3 == 3 and first < tl.LAST:
        first += 1
    change = 0
    for i in range(first, tl.N_TABLES):
        at = m[t + tl.INDICES + i]
        if w[tl.USEFUL + at] == 0:
            m[t + tl.ENTRY_TAGS + at] = m[t + tl.TAGS + i]
            w[tl.COUNTERS + at] = 0 if taken != 0 else -1
            change -= 1
            break
        change += 1
    m[t + tl.TICK] = max(0, m[t + tl.TICK] + change)
    if m[t + tl.TICK] >= tl.TICKS:
        m[t + tl.TICK] = 0
        for place in range(tl.USEFUL, tl.USEFUL + tl.N_TABLES * tl.ENTRIES):
            w[place] = w[place] >> 1


@helper
def _next_random(m: Words) -> int:
    at = m[lay.G_TAGE] + tl.RANDOM
    m[at] = (m[at] >> 1) ^ (0xB400 if m[at] & 1 != 0 else 0)
    return m[at]


@helper
def _update_corrector(m: Words, w: Words, taken: int) -> None:
    t = m[lay.G_TAGE]
    total, theta = m[t + tl.SUM], m[t + tl.THETA]
    wrong = (total >= 0) != (taken != 0)
    low = abs(total) < theta
    if not wrong and not low:
        return
    for k in range(tl.N_CORRECTORS):
        move(w, m[t + tl.CORRECTOR_INDICES + k], taken, -32, 31)
    m[t + tl.TC] += 1 if wrong else -1
    if m[t + tl.TC] >= 32:
        m[t + tl.TC], m[t + tl.THETA] = 0, theta + 1
    elif m[t + tl.TC] <= -32:
        m[t + tl.TC], m[t + tl.THETA] = 0, max(1, theta - 1)


@helper
def _update_loop(m: Words, h: int, taken: int) -> None:
    t = m[lay.G_TAGE]
    at, valid, says, tage = m[t + tl.LOOP], m[t + tl.IS_VALID], m[t + tl.LOOP_SAYS], m[t + tl.TAGE]
    if valid != 0 and says != tage:
        move(m, t + tl.WITH_LOOP, 1 if says == taken else 0, -64, 63)
    if at == 0:
        if tage != taken:
            way = _next_random(m) & (tl.LOOP_WAYS - 1)
            at = t + tl.LOOP_TABLE + tl.L_SIZE * (tl.LOOP_WAYS * (h & 15) + way)
            if m[at + tl.L_AGE] > 0:
                m[at + tl.L_AGE] -= 1
            else:
                _restart(m, at)
                m[at + tl.L_TAG], m[at + tl.L_DIRECTION] = (h >> 4) & 1023, 1 - taken
                m[at + tl.L_AGE] = 7
        return
    if valid != 0 and says != taken:
        _restart(m, at)
        return
    if valid != 0 and tage != taken and m[at + tl.L_AGE] < 15:
        m[at + tl.L_AGE] += 1
    current = (m[at + tl.L_CURRENT] + 1) & tl.MOST_ITERATIONS
    m[at + tl.L_CURRENT] = current
    if current > m[at + tl.L_PAST]:
        m[at + tl.L_PAST] = m[at + tl.L_CONFIDENCE] = 0
    if taken == m[at + tl.L_DIRECTION]:
        return
    past = m[at + tl.L_PAST]
    if current == past:
        if m[at + tl.L_CONFIDENCE] < 3:
            m[at + tl.L_CONFIDENCE] += 1
        if past < 3:
            _restart(m, at)
            m[at + tl.L_DIRECTION] = taken
    else:
        m[at + tl.L_PAST] = current if past == 0 else 0
        m[at + tl.L_CONFIDENCE] = 0
    m[at + tl.L_CURRENT] = 0


@helper
def _restart(m: Words, at: int) -> None:
    """Forget the iterations of a loop."""
    m[at + tl.L_PAST] = m[at + tl.L_CURRENT] = m[at + tl.L_CONFIDENCE] = m[at + tl.L_AGE] = 0


@helper
def _note_outcome(m: Words, ip: int, h: int, taken: int, following: int) -> None:
    """Put a conditional branch into the corrector's histories."""
    t = m[lay.G_TAGE]
    m[t + tl.GLOBAL_HISTORY] = ((m[t + tl.GLOBAL_HISTORY] << 1) | taken) & ((1 << tl.GLOBAL[2]) - 1)
    at = t + tl.LOCALS + (h & (tl.LOCAL_HISTORIES - 1))
    m[at] = ((m[at] << 1) | taken) & ((1 << tl.LOCAL[0]) - 1)
    is_last = ip == m[t + tl.LAST_BACKWARD]
    if taken != 0 and following < ip:
        m[t + tl.INNER] = min(tl.MOST_ITERATIONS, m[t + tl.INNER] + 1) if is_last else 1
        m[t + tl.LAST_BACKWARD] = ip
    elif taken == 0 and is_last:
        m[t + tl.INNER] = 0
