"""TAGE and TAGE-SC-L in plain Python, written from the specification alone; see `test_tage`."""

from dataclasses import dataclass

LENGTHS = (4, 6, 10, 16, 25, 40, 64, 101, 160, 254, 403, 640)
TAG_BITS = (8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13)


def fold(history: int, length: int, width: int) -> int:
    """XOR of bit_j << (j mod width) over the newest `length` bits; bit 0 is the newest."""
    rest, folded = history % 2**length, 0
    while rest:
        folded ^= rest % 2**width
        rest >>= width
    return folded


def step(value: int, up: bool, low: int, high: int) -> int:
    """The counter `value` one up or one down, kept within low..high."""
    return min(high, value + 1) if up else max(low, value - 1)


@dataclass
class Entry:
    """An entry of a tagged table."""

    tag: int = 0
    counter: int = 0
    useful: int = 0


class Tage:
    """Base counters and twelve tagged tables indexed with ever longer histories."""

    def __init__(self) -> None:
        self.base = [0] * 16384
        self.tables = [[Entry() for _ in range(2048)] for _ in LENGTHS]
        self.history = self.path = self.use_alt = self.tick = 0
        self.random = 0xACE1

    def predict(self, ip: int) -> int:
        """The direction of the conditional branch at `ip`; keeps what was read for `update`."""
        self.h = h = ip ^ (ip >> 2)
        self.entries, self.tags, hits = [], [], []
        for i, (length, bits) in enumerate(zip(LENGTHS, TAG_BITS, strict=True)):
            p = self.path % 2 ** min(16, length)
            index = h ^ (h >> (i + 1)) ^ fold(self.history, length, 11) ^ p ^ (p >> 11)
            tag = h ^ fold(self.history, length, bits) ^ (fold(self.history, length, bits - 1) << 1)
            self.entries.append(self.tables[i][index % 2048])
            self.tags.append(tag % 2**bits)
            if self.entries[i].tag == self.tags[i]:
                hits.append(i)
        self.alternate, self.provider = [-1, -1, *hits][-2:]
        base = self.base[h % 16384]
        self.long = self.other = int(base >= 2)
        self.weak = False
        self.confidence = 3 if base in (0, 3) else 0  # the corrector's c
        if self.alternate >= 0:
            self.other = int(self.entries[self.alternate].counter >= 0)
        if self.provider >= 0:
            entry = self.entries[self.provider]
            self.long = int(entry.counter >= 0)
            self.weak = entry.useful == 0 and entry.counter in (0, -1)
            self.confidence = (abs(2 * entry.counter + 1) - 1) // 2
        self.tage = self.other if self.weak and self.use_alt >= 0 else self.long
        return self.tage

    def update(self, ip: int, conditional: bool, taken: int, following: int) -> None:
        """Learn from a branch; a conditional one was predicted just before."""
        if conditional:
            self.train(taken)
            good = self.weak and self.long == taken
            if self.tage != taken and self.provider < 11 and not good:
                self.allocate(taken)
        self.history = (2 * self.history + taken) % 2 ** LENGTHS[-1]
        self.path = (2 * self.path + (ip ^ (ip >> 2)) % 2) % 65536

    def train(self, taken: int) -> None:
        """Move the counters behind the last prediction."""
        if self.provider < 0:
            self.move(-1, taken)
            return
        entry = self.entries[self.provider]
        if self.weak and self.long != self.other:
            self.use_alt = step(self.use_alt, self.other == taken, -8, 7)
        if entry.useful == 0:
            self.move(self.alternate, taken)
        self.move(self.provider, taken)
        if self.long != self.other:
            entry.useful = step(entry.useful, self.long == taken, 0, 3)

    def move(self, table: int, taken: int) -> None:
        """Move the counter that was read in a table (-1: the base) towards `taken`."""
        if table < 0:
            place = self.h % 16384
            self.base[place] = step(self.base[place], taken == 1, 0, 3)
        else:
            entry = self.entries[table]
            entry.counter = step(entry.counter, taken == 1, -4, 3)

    def step_random(self) -> int:
        """Step the random register and return it."""
        self.random = (self.random >> 1) ^ (0xB400 if self.random % 2 else 0)
        return self.random

    def allocate(self, taken: int) -> None:
        """Take over an entry that is not useful, in a table with a longer history."""
        r = self.step_random()
        start = self.provider + 1
        start += r % 2 == 1 and start < 11
        start += r % 4 == 3 and start < 11
        change = 0  # failures, less 1 if an entry was found
        for entry, tag in zip(self.entries[start:], self.tags[start:], strict=True):
            if entry.useful == 0:
                entry.tag, entry.counter = tag, 0 if taken else -1
                change -= 1
                break
            change += 1
        self.tick = max(0, self.tick + change)
        if self.tick >= 1023:
            self.tick = 0
            for entry in (entry for table in self.tables for entry in table):
                entry.useful //= 2


@dataclass
class Way:
    """An entry of the loop predictor."""

    tag: int = 0
    past: int = 0
    current: int = 0
    confidence: int = 0
    age: int = 0
    direction: int = 0


class TageScL(Tage):
    """TAGE with a loop predictor and a statistical corrector."""

    def __init__(self) -> None:
        super().__init__()
        self.loops = [[Way() for _ in range(4)] for _ in range(16)]
        self.with_loop, self.theta, self.theta_count = -1, 16, 0
        self.corrector = [[0] * 1024 for _ in range(8)]
        self.local = [0] * 256
        self.outcomes = self.inner = self.last_backward = 0  # outcomes is the specification's g

    def predict(self, ip: int) -> int:
        """The final direction of the conditional branch at `ip`."""
        first = super().predict(ip)
        h, tag = self.h, (self.h >> 4) % 1024
        self.hit = next((way for way in self.loops[h % 16] if way.tag == tag), None)
        self.valid, self.loop = False, 0
        if self.hit is not None:
            self.valid = self.hit.confidence == 3
            self.loop = self.hit.direction ^ (self.hit.current + 1 == self.hit.past)
        if self.valid and self.with_loop >= 0:
            first = self.loop

        keys = [h, 4 * h + self.confidence]
        for x in (self.outcomes % 2**bits for bits in (6, 14, 27)):
            keys.append(h ^ (h >> 3) ^ x ^ (x >> 10) ^ (x >> 20))
        for z in (self.local[h % 256] % 2**bits for bits in (11, 5)):
            keys.append(h ^ (h >> 5) ^ z ^ (z << 3))
        keys.append(h ^ (self.inner << 3))
        self.places = [(2 * key + first) % 1024 for key in keys]
        pairs = zip(self.corrector, self.places, strict=True)
        self.y = sum(2 * table[place] + 1 for table, place in pairs)
        bar = (0, self.theta // 4, self.theta // 4, self.theta // 2)[self.confidence]
        return int(self.y >= 0) if abs(self.y) >= bar else first

    def update(self, ip: int, conditional: bool, taken: int, following: int) -> None:
        """Learn from a branch; a conditional one was predicted just before."""
        if conditional:
            self.train_corrector(taken)
            if self.valid and self.loop != self.tage:
                self.with_loop = step(self.with_loop, self.loop == taken, -64, 63)
            if self.hit is not None:
                self.train_loop(self.hit, taken)
            elif self.tage != taken:
                self.allocate_loop(taken)
        super().update(ip, conditional, taken, following)
        if not conditional:
            return
        self.outcomes = (2 * self.outcomes + taken) % 2**27
        self.local[self.h % 256] = (2 * self.local[self.h % 256] + taken) % 2**11
        if taken and following < ip:
            self.inner = min(1023, self.inner + 1) if ip == self.last_backward else 1
            self.last_backward = ip
        elif not taken and ip == self.last_backward:
            self.inner = 0

    def train_corrector(self, taken: int) -> None:
        """Train the corrector's counters and its threshold."""
        wrong, low = (self.y >= 0) != taken, abs(self.y) < self.theta
        if not wrong and not low:
            return
        for table, place in zip(self.corrector, self.places, strict=True):
            table[place] = step(table[place], taken == 1, -32, 31)
        self.theta_count += 1 if wrong else -1
        if abs(self.theta_count) >= 32:
            self.theta = max(1, self.theta + (1 if wrong else -1))
            self.theta_count = 0

    def train_loop(self, way: Way, taken: int) -> None:
        """Count an iteration of a known loop."""
        if self.valid and self.loop != taken:
            way.past = way.age = way.confidence = way.current = 0
            return
        if self.valid and self.tage != taken:
            way.age = step(way.age, True, 0, 15)
        way.current = (way.current + 1) % 1024
        if way.current > way.past:
            way.past = way.confidence = 0
        if taken == way.direction:
            return
        if way.current == way.past:
            way.confidence = step(way.confidence, True, 0, 3)
            if way.past < 3:
                way.direction = taken
                way.past = way.age = way.confidence = 0
        else:
            way.past = way.current if way.past == 0 else 0
            way.confidence = 0
        way.current = 0

    def allocate_loop(self, taken: int) -> None:
        """Try to start a loop's entry for a branch that TAGE got wrong."""
        ways, number = self.loops[self.h % 16], self.step_random() % 4
        if ways[number].age == 0:
            ways[number] = Way(tag=(self.h >> 4) % 1024, age=7, direction=1 - taken)
        else:
            ways[number].age -= 1
