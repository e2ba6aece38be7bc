"""Words that the mappings of layers move between levels, as packets for a network on chip."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from archgym.simulators.accelerator.kernel.evaluation import evaluate_mapping
from archgym.simulators.accelerator.machine.architecture import Architecture
from archgym.simulators.accelerator.machine.mapping import Mapping
from archgym.simulators.accelerator.problem import OUTPUTS, TENSORS, Problem
from archgym.simulators.kit import InvalidDesignError
from archgym.simulators.kit.exports import FLIT_BYTES, NETWORK_NODES, packet_files

TRAFFIC: Final = "traffic"
TRAFFIC_DOC: Final = "Words between levels as packets, a workload of `noc`."
# chosen: packets of all layers together, which a network carries in seconds.
_MOST: Final = 2**16
# chosen: as many flits as `noc` reads.
_MOST_FLITS: Final = 2**23
# chosen: 1 KiB, a burst as in traffic of systems on a chip.
_PACKET_FLITS: Final = 64

Rows = list[tuple[int, int, int, int, int]]


class _Path(NamedTuple):
    """Words of a tensor that move from a level to the one inside it, or back.

    Attributes:
      tensor, outer, inner: Names; `inner` is that of the units below the innermost level.
      is_up: True if words move to the outer level.
      words: Words of the whole layer.
      bits: Bits of a word.
      period: Steps between two moves.
      ends: Outer node, inner node, and instances of the inner level up to it.
    """

    tensor: str
    outer: str
    inner: str
    is_up: bool
    words: int
    bits: int
    period: int
    ends: tuple[tuple[int, int, int], ...]


def traffic_files(
    built: Architecture, layers: Sequence[tuple[str, Problem, Mapping]], counts: str
) -> dict[str, str]:
    """Return words between levels as packets, the nodes of levels, and the words of each path.

    A step is an iteration of the loops in time. The words of a path move where a loop steps that
    its tensor depends on, in equal parts, and each instance that receives them gets its own copy. A
    packet waits for what its source got last of the tensor, or for the last one on its way; results
    wait for all that their source got. A layer with too many packets is cut behind a step.

    Args:
      built: The accelerator.
      layers: Names, problems and mappings.
      counts: Mode of the counts of accesses.

    Raises:
      InvalidDesignError: A mapping cannot run, or steps have more flits than a network reads.
    """
    rows: Rows = []
    lines = ["layer,tensor,from,to,words,listed_words,steps,listed_steps"]
    for number, (name, problem, mapping) in enumerate(layers, start=1):
        paths, steps = _paths(built, problem, mapping, counts)
        listed = _add(rows, paths, steps, _MOST * number // len(layers))
        for path in paths:
            way = (path.inner, path.outer) if path.is_up else (path.outer, path.inner)
            moves = (listed if path.is_up else listed + path.period - 1) // path.period
            words = path.words * moves // (steps // path.period)
            cells = (name, path.tensor, *way, path.words, words, steps, listed)
            lines.append(",".join(map(str, cells)))
    if sum(row[3] for row in rows) > _MOST_FLITS:
        raise InvalidDesignError(
            f"Export 'traffic' holds at most {_MOST_FLITS} flits of {FLIT_BYTES} bytes; the tiles "
            "of these layers have more. Use fewer layers."
        )
    single = _single(built)
    units = {f"units{i}": len(single) + i for i in range(NETWORK_NODES - len(single))}
    nodes = {name: place for place, name in enumerate(single)} | units
    return {**packet_files(rows, nodes), "paths.csv": "\n".join([*lines, ""])}


def _single(built: Architecture) -> list[str]:
    """Return levels of one instance, outermost first."""
    return [level.name for level in reversed(built.levels) if level.instances == 1]


def _node(built: Architecture, name: str, instance: int, used: int) -> int:
    """Return an instance's node: single levels come first, arrays are spread over all others."""
    single = _single(built)
    if name in single:
        return single.index(name)
    return len(single) + instance * (NETWORK_NODES - len(single)) // used


def _paths(
    built: Architecture, problem: Problem, mapping: Mapping, counts: str
) -> tuple[list[_Path], int]:
    """Return the paths of a mapping between instances at different places, and its steps."""
    evaluation = evaluate_mapping(problem, built, mapping, counts)
    if (found := evaluation.accesses) is None:
        raise InvalidDesignError(f"The mapping cannot run: {evaluation.infeasible}.")
    names = [*built.level_names, built.mac.name]
    units = math.prod(
        bound for level in mapping.levels for loops in level.nests[1:] for _, bound in loops
    )
    pairs = []
    for tensor, axes in zip(TENSORS, problem.projections, strict=True):
        kept = [name for name in reversed(built.level_names) if (name, tensor) in found]
        for outer, inner in pairwise([*kept, built.mac.name]):
            n = units if inner == built.mac.name else found[inner, tensor].instances
            # Registers stand where the units are.
            if n > found[outer, tensor].instances or outer in _single(built):
                pairs.append((tensor, {d for axis in axes for d, _ in axis}, outer, inner, n))
    # Steps are those of the innermost loops outside of all tiles that move.
    outside = {name: 0 if name == built.mac.name else names.index(name) + 1 for name in names}
    lowest = min((outside[inner] for *_, inner, _ in pairs), default=0)
    loops = [
        (place, dimension, bound)
        for place in range(lowest, built.n_levels)
        for dimension, bound in mapping.levels[place].temporal
    ]
    paths = []
    for tensor, own, outer, inner, n in pairs:
        above, period = found[outer, tensor], 1
        for place, dimension, bound in loops:
            if place >= outside[inner] and dimension in own and bound > 1:
                break
            period *= bound
        ends: dict[int, tuple[int, int, int]] = {}
        for i in range(n):
            node = _node(built, inner, i, n)
            source = _node(built, outer, i * above.instances // n, above.instances)
            ends[node] = (ends.get(node, (source,))[0], node, i + 1)
        down = above.reads * above.instances
        if inner != built.mac.name:
            down = found[inner, tensor].fills * n
        up = above.updates * above.instances if tensor == TENSORS[OUTPUTS] else 0
        bits = built.levels[names.index(outer)].word_bits
        paths += [
            _Path(tensor, outer, inner, is_up, words, bits, period, tuple(ends.values()))
            for is_up, words in ((False, down), (True, up))
            if words
        ]
    return paths, math.prod(bound for *_, bound in loops)


def _add(rows: Rows, paths: Sequence[_Path], steps: int, most: int) -> int:
    """Add the packets of the first steps, up to some number of packets; return those steps."""
    got: dict[tuple[str, int], int] = {}
    stride = min((path.period for path in paths), default=steps)
    for step in range(0, steps, stride):
        # Results leave behind the last step of their tile.
        for path in sorted(paths, key=lambda path: path.is_up):
            if (step + stride * path.is_up) % path.period:
                continue
            moves, k, before = steps // path.period, step // path.period, 0
            words = path.words * (k + 1) // moves - path.words * k // moves
            for outer, inner, up_to in path.ends:
                until = words * up_to // path.ends[-1][2]
                flits = -(-(until - before) * path.bits // (8 * FLIT_BYTES))
                before = until
                source, target = (inner, outer) if path.is_up else (outer, inner)
                waits = max(got.get((path.tensor, node), -1) for node in (source, target))
                if path.is_up:
                    waits = max(got.get((tensor, source), -1) for tensor in TENSORS)
                while flits:
                    rows.append((0, source, target, min(flits, _PACKET_FLITS), waits))
                    flits -= min(flits, _PACKET_FLITS)
                    got[path.tensor, target] = len(rows) - 1
        if len(rows) >= most:
            return step + stride
    return steps
