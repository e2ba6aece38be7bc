"""Seeded programs whose instruction traces are made here, over data larger than the caches.

A program is a set of basic blocks, each a few instructions with registers and places for memory
operands. An algorithm runs on real data and yields which block runs next, with its addresses; the
records follow from that. So branches, dependences and addresses are those of the algorithm.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple, final

import numpy as np
import numpy.typing as npt

from archgym.traces.instructions.records import RECORD

# Registers as traces number them.
_SP, _FLAGS, _IP = 6, 25, 26
# Kinds of instructions.
_ALU, _LOAD, _STORE, _BRANCH, _JUMP, _CALL, _RETURN, _INDIRECT = range(8)
_CODE: Final = 0x400000
_HEAP: Final = 0x10_0000_0000
_STACK: Final = 0x7FFF_FFFF_0000


class _Instruction(NamedTuple):
    # Some programs have ten thousand, and a data class takes ten times as long to make.
    kind: int
    to: int = 0
    sources: tuple[int, ...] = ()


def _alu(to: int, *sources: int) -> _Instruction:
    return _Instruction(_ALU, to, sources)


def _load(to: int, *sources: int) -> _Instruction:
    return _Instruction(_LOAD, to, sources)


def _store(*sources: int) -> _Instruction:
    return _Instruction(_STORE, 0, sources)


def _test(*sources: int) -> _Instruction:
    return _Instruction(_ALU, _FLAGS, sources)


_IF: Final = _Instruction(_BRANCH)
_GOTO: Final = _Instruction(_JUMP)


def _switch(*sources: int) -> _Instruction:
    return _Instruction(_INDIRECT, 0, sources)


Step = tuple[int, tuple[int, ...]]
"""A block's number, and the addresses of its memory operands in order."""


@final
@dataclass(frozen=True)
class Generator:
    """A named program: one line about it, its blocks and its run."""

    doc: str
    blocks: tuple[tuple[_Instruction, ...], ...]
    steps: Callable[[np.random.Generator], Iterator[Step]]
    spread: int = 0
    """Bytes between blocks beyond their own; large code misses the L1I."""


def generate(name: str, n: int, seed: int = 1) -> npt.NDArray[np.void]:
    """Return the first `n` records of a program, (n,).

    Args:
      name: One of `GENERATORS`.
      n: Records.
      seed: Random seed of its data.
    """
    program = GENERATORS[name]
    lengths = [len(block) for block in program.blocks]
    blocks: list[int] = []
    operands: list[int] = []
    count = 0
    for block, addresses in program.steps(np.random.default_rng(seed)):
        blocks.append(block)
        operands.extend(addresses)
        count += lengths[block]
        if count > n + 64:
            break
    # One more block than is needed, as a branch's target is where the next record is.
    return _expand(program, np.array(blocks), np.array(operands, dtype=np.uint64), n)


def _expand(
    program: Generator, blocks: npt.NDArray[np.int64], operands: npt.NDArray[np.uint64], n: int
) -> npt.NDArray[np.void]:
    """Turn executed blocks into records."""
    lengths = np.array([len(block) for block in program.blocks])
    starts = _CODE + np.concatenate([[0], np.cumsum(4 * lengths + program.spread)])
    templates = np.zeros((len(lengths), lengths.max()), dtype=RECORD)
    kinds = np.zeros(templates.shape, dtype=np.int64)
    for b, block in enumerate(program.blocks):
        for i, instruction in enumerate(block):
            templates[b, i] = _template(instruction, int(starts[b]) + 4 * i)
            kinds[b, i] = instruction.kind
    ends = np.cumsum(lengths[blocks])
    which = np.repeat(np.arange(len(blocks)), lengths[blocks])
    within = np.arange(ends[-1]) - (ends - lengths[blocks])[which]
    records = templates[blocks[which], within]
    kind = kinds[blocks[which], within]
    _place_operands(records, kind, operands)
    following = np.append(records["ip"][1:], 0)
    records["taken"] = (following != records["ip"] + 4) & (records["is_branch"] == 1)
    # Jumps, calls and returns are always taken; their blocks never follow themselves in memory.
    records["taken"] |= (kind >= _JUMP).astype(np.uint8)
    first: npt.NDArray[np.void] = records[:n]
    return first


def _place_operands(
    records: npt.NDArray[np.void], kind: npt.NDArray[np.int64], operands: npt.NDArray[np.uint64]
) -> None:
    touches = (kind == _LOAD) | (kind == _STORE)
    addresses = np.zeros(len(records), dtype=np.uint64)
    addresses[touches] = operands[: int(touches.sum())]
    records["reads"][:, 0] = np.where(kind == _LOAD, addresses, 0)
    records["writes"][:, 0] = np.where(kind == _STORE, addresses, 0)
    # Calls push where returns pop: the depth of the stack follows from both.
    depth = np.cumsum((kind == _CALL).astype(np.int64) - (kind == _RETURN))
    top = (_STACK - 8 * depth).astype(np.uint64)
    records["writes"][:, 0] = np.where(kind == _CALL, top, records["writes"][:, 0])
    before = (_STACK - 8 * (depth + 1)).astype(np.uint64)
    records["reads"][:, 0] = np.where(kind == _RETURN, before, records["reads"][:, 0])


def _template(instruction: _Instruction, ip: int) -> npt.NDArray[np.void]:
    """Return a record without addresses and direction."""
    record = np.zeros((), dtype=RECORD)
    to: tuple[int, ...] = (instruction.to,)
    sources = instruction.sources
    match instruction.kind:
        case 3:
            to, sources = (_IP,), (_IP, _FLAGS)
        case 4:
            to, sources = (_IP,), (_IP,)
        case 5:
            to, sources = (_SP, _IP), (_SP, _IP)
        case 6:
            to, sources = (_SP, _IP), (_SP,)
        case 7:
            to, sources = (_IP,), instruction.sources
    record["ip"] = ip
    record["is_branch"] = int(instruction.kind >= _BRANCH)
    record["destinations"][: len(to)] = to
    record["sources"][: len(sources)] = sources
    return record


def _heap(*sizes: int) -> Sequence[int]:
    """Return the base addresses of arrays of a given size, each on separate pages."""
    bases = []
    base = _HEAP
    for size in sizes:
        bases.append(base)
        base += (size + 8191) // 4096 * 4096
    return bases


# ---- hash join: build a table, then probe it; linear probing


def _hash_join(rng: np.random.Generator, slots: int = 1 << 20) -> Iterator[Step]:
    table, rows = _heap(16 * slots, 8 << 22)
    keys = rng.integers(1, slots, size=1 << 19).tolist()
    used = bytearray(slots)
    for i, key in enumerate(keys):
        at = key * 2654435761 % slots
        yield 0, (rows + 8 * i,)
        probes = 0
        # The table is built and probed at once: half of the keys are found.
        while used[at] and probes < 8 and (key + probes) & 1:
            yield 1, (table + 16 * at,)
            at = (at + 1) % slots
            probes += 1
        yield 2, (table + 16 * at,)
        if used[at]:
            yield 3, (table + 16 * at + 8,)
        else:
            used[at] = 1
            yield 4, (table + 16 * at, table + 16 * at + 8)


# ---- breadth-first search of a random graph in compressed rows


def _graph_search(rng: np.random.Generator) -> Iterator[Step]:
    n, degree = 1 << 18, 8
    offsets, edges, visited, queue = _heap(8 * n, 4 * n * degree, n, 4 * n)
    neighbours = rng.integers(0, n, size=(n, degree))
    seen = bytearray(n)
    front = [0]
    seen[0] = 1
    head = 0
    while head < len(front):
        vertex = front[head]
        yield 0, (queue + 4 * head, offsets + 8 * vertex, offsets + 8 * vertex + 8)
        head += 1
        for k, neighbour in enumerate(neighbours[vertex].tolist()):
            yield 1, (edges + 4 * (vertex * degree + k), visited + neighbour)
            if not seen[neighbour]:
                seen[neighbour] = 1
                yield 2, (visited + neighbour, queue + 4 * len(front))
                front.append(neighbour)
            yield 3, ()
        yield 4, ()


# ---- a linked list in random order, with a branch on what is read


def _pointer_chase(rng: np.random.Generator, n: int = 1 << 17) -> Iterator[Step]:
    (nodes,) = _heap(64 * n)
    order = rng.permutation(n).tolist()
    values = rng.integers(0, 2, size=n).tolist()
    while True:
        for node in order:
            yield 0, (nodes + 64 * node, nodes + 64 * node + 8)
            if values[node]:
                yield 1, ()
            yield 2, ()


# ---- a B-tree of 64 keys a node: binary search in each


def _b_tree(rng: np.random.Generator) -> Iterator[Step]:
    fanout, levels = 64, 3
    sizes = [fanout**level for level in range(levels)]
    bases = _heap(*(1024 * size for size in sizes))
    while True:
        path = rng.integers(0, fanout, size=levels).tolist()
        yield 0, ()
        number = 0
        for level in range(levels):
            low, high = 0, fanout
            while high - low > 1:
                middle = (low + high) // 2
                yield 1, (bases[level] + 1024 * number + 8 * middle,)
                if middle <= path[level]:
                    low = middle
                    yield 2, ()
                else:
                    high = middle
                    yield 3, ()
                yield 4, ()
            yield 5, (bases[level] + 1024 * number + 512 + 8 * low,)
            number = number * fanout + path[level]
        yield 6, ()


# ---- sparse matrix times vector, compressed rows


def _sparse_matrix(rng: np.random.Generator) -> Iterator[Step]:
    n, most = 1 << 18, 16
    columns, values, vector, result = _heap(4 * n * most, 8 * n * most, 8 * n, 8 * n)
    at = 0
    while True:
        for row in range(n):
            count = int(rng.integers(4, most + 1))
            yield 0, (result + 8 * row,)
            near = rng.random() < 0.5
            found = (
                (row + rng.integers(0, 64, size=count)) % n
                if near
                else rng.integers(0, n, size=count)
            )
            for column in found.tolist():
                yield 1, (columns + 4 * at, values + 8 * at, vector + 8 * column)
                at = (at + 1) % (n * most)
            yield 2, (result + 8 * row,)


# ---- quicksort's partitions of 32-bit numbers


def _sort(rng: np.random.Generator) -> Iterator[Step]:
    n = 1 << 19
    (numbers,) = _heap(4 * n)
    data = rng.integers(0, 1 << 30, size=n).tolist()
    stack = [(0, n - 1)]
    while stack:
        low, high = stack.pop()
        yield 0, (numbers + 4 * ((low + high) // 2),)
        pivot = data[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while data[i] < pivot:
                yield 1, (numbers + 4 * i,)
                i += 1
            yield 1, (numbers + 4 * i,)
            while data[j] > pivot:
                yield 2, (numbers + 4 * j,)
                j -= 1
            yield 2, (numbers + 4 * j,)
            yield 3, ()
            if i <= j:
                data[i], data[j] = data[j], data[i]
                yield 4, (numbers + 4 * i, numbers + 4 * j)
                i += 1
                j -= 1
            yield 5, ()
        # The larger part waits, so that partitions of every size come early in a trace.
        parts = sorted(((low, j), (i, high)), key=lambda part: part[0] - part[1])
        stack.extend(part for part in parts if part[1] > part[0])
        yield 6, ()


# ---- five-point stencil over two grids of doubles


def _stencil(rng: np.random.Generator) -> Iterator[Step]:
    n = 1024
    first, second = _heap(8 * n * n, 8 * n * n)
    while True:
        for source, target in ((first, second), (second, first)):
            for row in range(1, n - 1):
                base = 8 * n * row
                for column in range(1, n - 1):
                    at = source + base + 8 * column
                    yield (
                        0,
                        (at, at - 8, at + 8, at - 8 * n, at + 8 * n, target + base + 8 * column),
                    )
                yield 1, ()


# ---- an interpreter: one indirect jump for each byte code, over a large code


_N_CODES: Final = 512


def _interpreter(rng: np.random.Generator) -> Iterator[Step]:
    stack, heap = _heap(1 << 14, 1 << 24)
    programs = [rng.integers(0, _N_CODES, size=int(size)).tolist() for size in (40, 200, 900, 3000)]
    objects = rng.integers(0, 1 << 18, size=4096).tolist()
    depth = 0
    while True:
        program = programs[int(rng.choice(4, p=(0.4, 0.3, 0.2, 0.1)))]
        for position, code in enumerate(program):
            yield 0, (_HEAP + (1 << 25) + position,)
            depth = (depth + code % 3 - 1) % 512
            # Hot objects live in the first megabyte, cold ones anywhere.
            place = objects[(position * 7 + code) % 4096]
            place = place % 16384 if code % 4 else place
            yield 1 + code, (stack + 8 * depth, heap + 64 * place, stack + 8 * depth + 8)
            if code % 8 == 0:
                yield 1 + _N_CODES, (heap + 64 * place + 8,)


# ---- counting words of fixed length in a sequence of four letters


def _k_mer_count(rng: np.random.Generator) -> Iterator[Step]:
    slots = 1 << 19
    text, table = _heap(1 << 24, 16 * slots)
    # Half of the sequence repeats an earlier part, as genomes do.
    words = rng.integers(0, slots, size=1 << 18)
    again = rng.random(1 << 18) < 0.5
    words[again] = words[rng.integers(0, 4096, size=int(again.sum()))]
    counts = np.zeros(slots, dtype=np.int64)
    for i, word in enumerate(np.tile(words, 16).tolist()):
        yield 0, (text + i % (1 << 24), table + 16 * word)
        counts[word] += 1
        if counts[word] == 1:
            yield 1, (table + 16 * word,)
        else:
            yield 2, (table + 16 * word + 8, table + 16 * word + 8)
        yield 3, ()


# ---- matrix product in blocks, which lives in the caches and keeps the core busy


def _matrix_product(rng: np.random.Generator) -> Iterator[Step]:
    n, size = 512, 32
    a, b, c = _heap(8 * n * n, 8 * n * n, 8 * n * n)
    while True:
        for bi in range(0, n, size):
            for bk in range(0, n, size):
                for bj in range(0, n, size):
                    for i in range(bi, bi + size):
                        for k in range(bk, bk + size):
                            yield 0, (a + 8 * (n * i + k),)
                            for j in range(bj, bj + size, 4):
                                at = c + 8 * (n * i + j)
                                yield 1, (b + 8 * (n * k + j), at, at)
                            yield 2, ()


# ---- decompression: copies of earlier output, far and near


def _decompress(rng: np.random.Generator) -> Iterator[Step]:
    window = 1 << 22
    source, output = _heap(1 << 23, window)
    at, position = 0, 0
    while True:
        symbol = rng.random()
        yield 0, (source + at % (1 << 23),)
        at += 1
        if symbol < 0.4:
            yield 1, (output + position % window,)
            position += 1
            continue
        distance = int(2 ** (rng.random() * 21)) + 8
        yield 2, (source + at % (1 << 23),)
        at += 1
        for _ in range(int(rng.integers(1, 9))):
            yield 3, (output + (position - distance) % window, output + position % window)
            position += 8
        yield 4, ()


# ---- tables of rules: many branches that depend on each other


def _rules(rng: np.random.Generator) -> Iterator[Step]:
    (facts,) = _heap(1 << 18)
    outcomes = [0] * 64
    while True:
        for rule in range(24):
            # Every eighth rule is chance; the others repeat one of the last outcomes.
            past = outcomes[-1 - 3 * rule % 20] ^ (rule & 1)
            bit = past if rule % 8 else int(rng.random() < 0.5)
            yield 2 * rule, (facts + 8 * ((rule * 911 + sum(outcomes[-4:])) % (1 << 15)),)
            if bit:
                yield 2 * rule + 1, ()
            outcomes.append(bit)
            del outcomes[0]
        yield 48, ()


# ---- simulation of a circuit that is compiled to straight code, all of it in each clock cycle


_N_MODULES: Final = 512


def _circuit_simulation(rng: np.random.Generator) -> Iterator[Step]:
    inputs = rng.integers(0, 8 * _N_MODULES, size=(_N_MODULES, 4)).tolist()
    signals, memory = _heap(64 * _N_MODULES, 1 << 14)
    clock = 0
    while True:
        for module, wires in enumerate(inputs):
            own = signals + 64 * module
            yield 2 * module, (own, *(signals + 8 * wire for wire in wires), own + 8, own + 16)
            # A divider of the clock enables each module in one of 1 to 32 cycles.
            if (clock + module) % (1 << module % 6) == 0:
                word = (clock * 2654435761 + module * 40503) % (1 << 11)
                yield 2 * module + 1, (memory + 8 * word, own + 24)
        yield 2 * _N_MODULES, ()
        clock += 1


def _module(number: int) -> tuple[tuple[_Instruction, ...], tuple[_Instruction, ...]]:
    """Return the blocks of a module of the circuit: always run, and run if it is enabled."""
    enable = 1 + number % 3
    return (
        (
            _load(enable, 14),
            *(_load(4 + k, 15) for k in range(4)),
            *(_alu(8 + k % 4, 4 + k % 4, 4 + (k + number) % 4) for k in range(8)),
            *(_alu(12 + k % 2, 8 + k, 8 + (k + 1) % 4) for k in range(4)),
            _store(14, 12), _store(14, 13), _test(enable), _IF,
        ),
        (_alu(8, enable), _load(9, 8), _alu(9, 9, 12), _store(14, 9)),
    )  # fmt: skip


# ---- SHA-256 of a stream, half of the rounds of a block in one piece of code


def _digest(rng: np.random.Generator) -> Iterator[Step]:
    message, constants = _heap(1 << 24, 256)
    at = 0
    while True:
        for half in (0, 1):
            words = range(32 * half, 32 * half + 32)
            # The schedule of words is left out: each round reads a word of the message.
            places = ((constants + 4 * k, message + at + 4 * (k % 16)) for k in words)
            yield 0, tuple(address for pair in places for address in pair)
        yield 1, ()
        at = (at + 64) % (1 << 24)


def _round(number: int) -> tuple[_Instruction, ...]:
    """Return the instructions of SHA-256's round `number`, in which eight variables rotate."""
    variables = (1, 2, 3, 4, 5, 7, 8, 9)
    a, b, c, d, e, f, g, h = (variables[(k - number) % 8] for k in range(8))
    return (
        _load(10, 14), _load(11, 13), _alu(h, h, 10), _alu(h, h, 11),
        _alu(10, e), _alu(11, e), _alu(10, 10, 11), _alu(h, h, 10),
        _alu(12, f, g), _alu(12, 12, e), _alu(12, 12, g), _alu(h, h, 12), _alu(d, d, h),
        _alu(10, a), _alu(11, a), _alu(10, 10, 11), _alu(12, a, b), _alu(12, 12, c),
        _alu(h, h, 10), _alu(h, h, 12),
    )  # fmt: skip


# ---- lines of a picture: pixels are unpacked into four planes, then each plane is filtered


_N_TAPS: Final = 5


def _picture_filter(rng: np.random.Generator) -> Iterator[Step]:
    width = 256
    packed, planes, taps, result = _heap(1 << 22, 4 * 4 * width, 64, 4 * width)
    line = 0
    while True:
        for x in range(width):
            places = (planes + 4 * (plane * width + x) for plane in range(4))
            yield 0, (packed + 4 * ((line * width + x) % (1 << 20)), *places)
        for x in range(width - _N_TAPS):
            source = planes + 4 * ((line % 4) * width + x)
            operands = ((source + 4 * k, taps + 4 * k) for k in range(_N_TAPS))
            yield 1, (*(address for pair in operands for address in pair), result + 4 * x)
        yield 2, ()
        line += 1


_CODES: Final = tuple(
    (
        _load(2, 14),
        *(_alu(3 + k % 5, 2, 3 + (k + code) % 5) for k in range(2 + code % 5)),
        _load(9, 2, 3),
        *(_alu(10 + k % 3, 9, 10 + (k + 1) % 3) for k in range(1 + code % 7)),
        _store(14, 10),
        _GOTO,
    )
    for code in range(_N_CODES)
)
_RULE: Final = (_load(1, 2), _alu(3, 1, 3), _test(3), _IF)

_CHASE: Final = (
    (_load(1, 1), _load(2, 1), _test(2), _IF),
    (_alu(3, 3, 2),),
    (_test(1), _IF),
)
_JOIN: Final = (
    (_load(1, 10), _alu(2, 1), _alu(3, 2), _alu(10, 10), _test(3), _IF),
    (_load(4, 3, 11), _test(4, 1), _alu(3, 3), _IF),
    (_load(4, 3, 11), _test(4), _IF),
    (_load(5, 3, 11), _alu(12, 12, 5), _GOTO),
    (_store(3, 11, 1), _store(3, 11, 10), _alu(13, 13), _GOTO),
)

GENERATORS: Final[Mapping[str, Generator]] = {
    "hash-join": Generator("hash table of 16 MiB, built and probed", _JOIN, _hash_join),
    "hash-join-small": Generator(
        "hash table of 256 KiB, built and probed", _JOIN, partial(_hash_join, slots=1 << 14)
    ),
    "graph-search": Generator(
        "breadth-first search of 2 million edges",
        (
            (_load(1, 10), _load(2, 1, 11), _load(3, 1, 11), _alu(10, 10), _test(2, 3)),
            (_load(4, 2, 12), _load(5, 4, 13), _alu(2, 2), _test(5), _IF),
            (_store(4, 13), _store(4, 14, 15), _alu(14, 14)),
            (_test(2, 3), _IF),
            (_test(10, 14), _GOTO),
        ),
        _graph_search,
    ),
    "pointer-chase": Generator(
        "linked list of 8 MiB in random order",
        _CHASE,
        _pointer_chase,
    ),
    "pointer-chase-small": Generator(
        "linked list of 384 KiB in random order",
        _CHASE,
        partial(_pointer_chase, n=6144),
    ),
    "b-tree": Generator(
        "look-ups in a B-tree of 4,161 nodes of 1 KiB",
        (
            (_alu(1, 2), _alu(3, 1), _alu(4, 5)),
            (_alu(6, 4, 5), _alu(6, 6), _load(7, 6, 10), _test(7, 1), _IF),
            (_alu(4, 6), _GOTO),
            (_alu(5, 6),),
            (_test(5, 4), _IF),
            (_load(10, 4, 10), _alu(4, 9), _alu(5, 9), _test(10), _IF),
            (_alu(2, 2, 10), _GOTO),
        ),
        _b_tree,
    ),
    "sparse-matrix": Generator(
        "sparse matrix of 4 million entries times a vector of 2 MiB",
        (
            (_load(1, 10), _alu(2, 1), _alu(3, 3)),
            (
                _load(4, 11),
                _load(5, 12),
                _load(6, 4, 13),
                _alu(7, 5, 6),
                _alu(1, 1, 7),
                _alu(11, 11),
                _alu(12, 12),
                _test(11, 2),
                _IF,
            ),
            (_store(10, 1), _alu(10, 10), _test(10), _IF),
        ),
        _sparse_matrix,
    ),
    "sort": Generator(
        "quicksort of 2 MiB of numbers",
        (
            (_alu(4, 1, 2), _load(3, 4, 10), _alu(5, 1), _alu(6, 2)),
            (_load(7, 5, 10), _alu(5, 5), _test(7, 3), _IF),
            (_load(8, 6, 10), _alu(6, 6), _test(8, 3), _IF),
            (_test(5, 6), _IF),
            (_store(5, 8), _store(6, 7), _alu(5, 5), _alu(6, 6)),
            (_test(5, 6), _IF),
            (_alu(1, 5), _alu(2, 6), _test(1, 2), _GOTO),
        ),
        _sort,
    ),
    "stencil": Generator(
        "five-point stencil over two grids of 8 MiB",
        (
            (
                *(_load(k, 10) for k in range(1, 6)),
                _alu(1, 1, 2), _alu(3, 3, 4), _alu(1, 1, 3), _alu(1, 1, 5),
                _store(11, 1), _alu(10, 10), _alu(11, 11), _test(10, 12), _IF,
            ),
            (_alu(10, 10), _alu(11, 11), _test(10), _GOTO),
        ),
        _stencil,
    ),
    "interpreter": Generator(
        "512 byte codes over 118 KiB of code and 16 MiB of objects",
        (
            (_load(1, 13), _alu(13, 13), _alu(7, 1), _switch(7)),
            *_CODES,
            (_load(8, 9), _alu(8, 8, 10), _test(8), _GOTO),
        ),
        _interpreter,
        spread=192,
    ),
    "k-mer-count": Generator(
        "counts of words of a sequence in a table of 8 MiB",
        (
            (_load(1, 10), _alu(2, 2, 1), _alu(3, 2), _load(4, 3, 11), _alu(10, 10), _test(4), _IF),
            (_store(3, 11, 2), _GOTO),
            (_load(5, 3, 11), _alu(5, 5), _store(3, 11, 5)),
            (_test(10, 12), _IF),
        ),
        _k_mer_count,
    ),
    "matrix-product": Generator(
        "product of matrices of 2 MiB in blocks",
        (
            (_load(1, 10), _alu(10, 10), _alu(2, 9)),
            (
                _load(3, 2, 11),
                _alu(3, 3, 1),
                _load(4, 2, 12),
                _alu(4, 4, 3),
                _store(2, 12, 4),
                _alu(2, 2),
                _test(2, 5),
                _IF,
            ),
            (_test(10, 6), _IF),
        ),
        _matrix_product,
    ),
    "decompress": Generator(
        "copies of earlier output within 4 MiB",
        (
            (_load(1, 10), _alu(2, 2, 1), _alu(3, 2), _alu(10, 10), _test(3), _IF),
            (_store(11, 3), _alu(11, 11), _GOTO),
            (_load(4, 10), _alu(5, 11, 4), _alu(6, 2), _alu(10, 10)),
            (_load(7, 5), _store(11, 7), _alu(5, 5), _alu(11, 11), _test(6, 11), _IF),
            (_alu(2, 2), _GOTO),
        ),
        _decompress,
    ),
    "circuit-simulation": Generator(
        "circuit of 512 modules, compiled to 49 KiB of straight code",
        (
            *(block for number in range(_N_MODULES) for block in _module(number)),
            (_alu(14, 14), _GOTO),
        ),
        _circuit_simulation,
    ),
    "digest": Generator(
        "SHA-256 of a stream of 16 MiB in a loop of 2.5 KiB of code",
        (
            (*(each for number in range(32) for each in _round(number)), _test(15), _IF),
            (_alu(13, 13), _alu(15, 13), _GOTO),
        ),
        _digest,
    ),
    "picture-filter": Generator(
        "lines of a picture of 4 MiB, unpacked and filtered within 5 KiB",
        (
            (
                _load(1, 10),
                *(each for k in range(4) for each in (_alu(2 + k % 3, 1), _store(11, 2 + k % 3))),
                _alu(10, 10), _alu(11, 11), _test(11), _IF,
            ),
            (
                _alu(1, 9), _alu(2, 9),
                *(
                    each
                    for k in range(_N_TAPS)
                    for each in (_load(3 + k % 2, 12), _load(5, 13), _alu(1 + k % 2, 3 + k % 2, 5))
                ),
                _alu(1, 1, 2), _store(12, 1), _alu(12, 12), _test(12), _IF,
            ),
            (_alu(11, 14), _alu(12, 14), _test(10), _GOTO),
        ),
        _picture_filter,
    ),
    "rules": Generator(
        "chains of branches that follow from earlier ones",
        (
            *(block for _ in range(24) for block in (_RULE, (_alu(2, 2, 3),))),
            (_alu(2, 4), _GOTO),
        ),
        _rules,
    ),
}  # fmt: skip
