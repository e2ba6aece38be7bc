"""Learned and evolved rules of prefix caches, on sessions that were held out.

    python -m experiments.kv_rules DIR [--only TRACE ...] [--splits 4] [--trials 40]
    python -m experiments.kv_rules DIR --only agents --reinforced --trials 80

DIR holds recorded traces as `kv`. Three ways make rules of `kv-cache`: a linear score whose weights
are drawn, a tree that imitates what the optimum keeps, and a search that mutates the code of rules.
With `--reinforced`, a policy gradient makes the weights of the linear score, and nothing else runs.
All are the same kind of program, an expression over what a rule may know of a block. It runs here
by an interpreter, and at the end as code in the sandbox, which must have the same hits.
"""

import argparse
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numba
import numpy as np
from scipy.stats import t as student

from archgym.rules.language import check_rule
from archgym.rules.sandbox import RuleRunner
from archgym.simulators.kv.analysis import live_blocks
from archgym.simulators.kv.formats.trace import SessionTrace
from archgym.simulators.kv.kernel.run import run_pool
from archgym.simulators.kv.rules.case import CacheCase
from archgym.simulators.kv.rules.domain import CACHE
from archgym.simulators.kv.rules.kernel import make_replay
from archgym.simulators.kv.workloads.arrays import NEVER
from archgym.simulators.kv.workloads.stream import StreamBlocks, StreamSettings, stream_of
from archgym.simulators.kv.workloads.traces import load
from experiments.kv import write

BLOCKS: Final = {"agents": 2048, "requests": 512}
"""chosen: tokens of a block; small ones multiply the time and change little."""
TRAINING: Final = 32
"""chosen: sessions that a rule is made on."""
LIVE: Final = 12
"""chosen: live sessions, as many as let half of their contexts hold the largest request."""
SHARES: Final = (0.25, 0.5)
CLASSIC: Final = ("lru", "lfu", "ttl", "tail-lru", "slru", "s3-fifo", "arc")

# ---- what a rule knows of a block, in the order of features

FEATURES: Final = ("uses", "between", "depth", "left", "found", "turns", "gap", "pause", "ended")
_TEXTS: Final = (
    "uses[block]", "between[block]", "depth", "left", "found[session]", "turns[session]",
    "gap[session]", "pause[session]", "over[session]",
)  # fmt: skip
_USUAL: Final = np.array([7, 3600, 300, 300, 63, 100, 600, 600, 1])
"""chosen: largest usual values of the features."""
_MOST: Final = 65535
_BLOCK, _SESSION = 3, 7  # arrays of each kind; see `_at`
_HEAD: Final = 8

Program = tuple[Any, ...]
"""("f", feature), ("c", constant), (operator, a, b) or ("if", a, b, then, otherwise) for a < b."""
_CODES: Final = {"f": 0, "c": 1, "+": 2, "-": 3, "*": 4, "/": 5, "min": 6, "max": 7, "if": 8}
_STACK: Final = 1200
_N_FLOATS: Final = 1280


@numba.njit(inline="always")
def _at(memory: Any, array: int, entry: Any) -> Any:
    """Return the place of an entry; arrays of blocks come first."""
    if array < _BLOCK:
        return _HEAD + array * memory[2] + entry
    return _HEAD + _BLOCK * memory[2] + (array - _BLOCK) * memory[3] + entry


# Arrays: uses, between, last use; gap, pause, last request, turns, found, ended.
@numba.njit
def _on_request(session: Any, time: Any, memory: Any, floats: Any) -> None:
    seen = memory[_at(memory, 5, session)]
    if seen > 0:
        pause = min((time - seen) // 1000, 65535)
        gap = _at(memory, 3, session)
        memory[_at(memory, 4, session)] = pause
        memory[gap] = pause if memory[gap] == 0 else (3 * memory[gap] + pause) // 4
    turns = _at(memory, 6, session)
    memory[turns] = min(memory[turns] + 1, 65535)
    memory[_at(memory, 7, session)] = 0


@numba.njit
def _on_fill(block: Any, depth: Any, session: Any, time: Any, memory: Any, floats: Any) -> None:
    memory[_at(memory, 0, block)] = 0
    memory[_at(memory, 1, block)] = 65535
    memory[_at(memory, 2, block)] = time // 1000


@numba.njit
def _on_hit(block: Any, depth: Any, session: Any, time: Any, memory: Any, floats: Any) -> None:
    uses, last = _at(memory, 0, block), _at(memory, 2, block)
    memory[uses] = min(memory[uses] + 1, 7)
    memory[_at(memory, 1, block)] = min(time // 1000 - memory[last], 65535)
    memory[last] = time // 1000
    memory[_at(memory, 7, session)] = min(memory[_at(memory, 7, session)] + 1, 63)


@numba.njit
def _on_pause(session: Any, ended: Any, time: Any, memory: Any, floats: Any) -> None:
    memory[_at(memory, 8, session)] = ended
    memory[_at(memory, 5, session)] = time


@numba.njit
def _feature(number: Any, block: Any, depth: Any, left: Any, session: Any, memory: Any) -> float:
    if number < 2:
        return float(memory[_at(memory, number, block)])
    if number == 2:
        return float(depth)
    if number == 3:
        return float(left)
    if number == 4:
        return float(memory[_at(memory, 7, session)])
    if number == 5:
        return float(memory[_at(memory, 6, session)])
    if number == 8:
        return float(memory[_at(memory, 8, session)])
    return float(memory[_at(memory, 3 if number == 6 else 4, session)])


@numba.njit
def _interpret(
    block: Any, depth: Any, left: Any, session: Any, time: Any, memory: Any, floats: Any
) -> float:
    """Return the score of a program in postfix form: its length, then pairs of code and value."""
    top = 1200
    for step in range(int(floats[0])):
        code, value = int(floats[1 + 2 * step]), floats[2 + 2 * step]
        if code == 0:
            floats[top] = _feature(int(value), block, depth, left, session, memory)
            top += 1
        elif code == 1:
            floats[top] = value
            top += 1
        elif code == 8:
            top -= 3
            is_less = floats[top - 1] < floats[top]
            floats[top - 1] = floats[top + 1] if is_less else floats[top + 2]
        else:
            top -= 1
            a, b = floats[top - 1], floats[top]
            if code == 2:
                a = a + b
            elif code == 3:
                a = a - b
            elif code == 4:
                a = a * b
            elif code == 5:
                a = a / max(abs(b), 1.0)
            elif code == 6:
                a = min(a, b)
            else:
                a = max(a, b)
            floats[top - 1] = a
    return float(time) + 1000.0 * floats[1200]


@numba.njit
def _record(
    block: Any, depth: Any, left: Any, session: Any, time: Any, memory: Any, floats: Any
) -> float:
    """Write the features of a block down, and score it as LRU does."""
    at = 1280 + 9 * memory[4]
    if at + 9 <= floats.shape[0]:
        for number in range(9):
            floats[at + number] = _feature(number, block, depth, left, session, memory)
        memory[4] += 1
    return float(time)


def _replay(score: Callable[..., Any]) -> Callable[..., Any]:
    return make_replay(
        {"score": score, "on_request": _on_request, "on_fill": _on_fill, "on_hit": _on_hit,
         "on_tool_pause": _on_pause}
    )  # fmt: skip


REPLAY: Final = _replay(_interpret)
RECORD: Final = _replay(_record)


def _memory(case: CacheCase) -> Any:
    sizes = case.sizes
    memory = np.zeros(_HEAD + _BLOCK * sizes["block"] + 6 * sizes["session"], np.int64)
    memory[2], memory[3] = sizes["block"], sizes["session"]
    return memory


def _postfix(program: Program) -> list[float]:
    if program[0] in ("f", "c"):
        return [_CODES[program[0]], float(program[1])]
    found: list[float] = []
    for part in program[1:]:
        found += _postfix(part)
    return [*found, _CODES[program[0]], 0.0]


def hits(program: Program, case: CacheCase) -> int:
    """Return the hits of a program on a case."""
    code = _postfix(program)
    floats = np.zeros(_N_FLOATS)
    floats[0], floats[1 : 1 + len(code)] = len(code) // 2, code
    storage = SimpleNamespace(memory=_memory(case), floats=floats)
    return int(CACHE.simulate(REPLAY, storage, case.arguments())["hits"])


# ---- programs as rules


def text_of(program: Program) -> str:
    """Return a program as an expression of the language of rules."""
    kind = program[0]
    if kind == "f":
        return _TEXTS[program[1]]
    if kind == "c":
        return f"({float(program[1])!r})"
    parts = [text_of(part) for part in program[1:]]
    if kind == "if":
        return f"({parts[2]} if {parts[0]} < {parts[1]} else {parts[3]})"
    if kind == "/":
        return f"({parts[0]} / max(abs({parts[1]}), 1.0))"
    return (
        f"{kind}({parts[0]}, {parts[1]})"
        if kind in ("min", "max")
        else f"({f' {kind} '.join(parts)})"
    )


def used(program: Program) -> set[int]:
    """Return the features that a program reads."""
    if program[0] in ("f", "c"):
        return {program[1]} if program[0] == "f" else set()
    return set().union(*(used(part) for part in program[1:]))


def size(program: Program) -> int:
    """Return the nodes of a program."""
    return 1 if program[0] in ("f", "c") else 1 + sum(size(part) for part in program[1:])


def rule_of(program: Program, doc: str) -> str:
    """Return a program as the text of a rule that keeps only what it needs."""
    needs = {FEATURES[number] for number in used(program)}
    arrays, fill, hit, request, pause = [], [], [], [], []
    if "uses" in needs:
        arrays.append("uses = per_block(bits=3)")
        fill.append("uses[block] = 0")
        hit.append("uses[block] = min(uses[block] + 1, 7)")
    if "between" in needs:
        arrays += ["between = per_block(bits=16)", "last = per_block(bits=24)"]
        fill += [f"between[block] = {_MOST}", "last[block] = time // 1000"]
        hit += [f"between[block] = min(time // 1000 - last[block], {_MOST})",
                "last[block] = time // 1000"]  # fmt: skip
    if "found" in needs:
        arrays.append("found = per_session(bits=6)")
        hit.append("found[session] = min(found[session] + 1, 63)")
        request.append("found[session] = 0")
    if "turns" in needs:
        arrays.append("turns = per_session(bits=16)")
        request.append(f"turns[session] = min(turns[session] + 1, {_MOST})")
    if needs & {"gap", "pause"}:
        arrays += ["pause = per_session(bits=16)", "seen = per_session(bits=32)"]
        pause.append("seen[session] = time")
        since = f"min((time - seen[session]) // 1000, {_MOST})"
        request += ["if seen[session] > 0:", f"    pause[session] = {since}"]
    if "gap" in needs:
        arrays.append("gap = per_session(bits=16)")
        request += ["    if gap[session] == 0:", "        gap[session] = pause[session]",
                    "    else:",
                    "        gap[session] = (3 * gap[session] + pause[session]) // 4"]  # fmt: skip
    if "ended" in needs:
        arrays.append("over = per_session(bits=1)")
        pause.append("over[session] = ended")
    hooks = {
        "on_request(session, time)": request,
        "on_fill(block, depth, session, time)": fill,
        "on_hit(block, depth, session, time)": hit,
        "on_tool_pause(session, ended, time)": pause,
        "score(block, depth, left, session, time)": [f"return time + 1000.0 * {text_of(program)}"],
    }
    parts = [f'"""{doc}"""\nDOMAIN = "kv-cache"', *arrays]
    bodies = ["\n    ".join([f"def {head}:", *body]) for head, body in hooks.items() if body]
    return "\n".join(parts) + "\n\n\n" + "\n\n\n".join(bodies) + "\n"


# ---- cases


@dataclass(frozen=True)
class Part:
    """Requests with two sizes of memory, and what others reach there."""

    cases: tuple[CacheCase, ...]
    classic: tuple[int, ...]
    known_end: tuple[int, ...]
    best: tuple[int, ...]

    def closed(self, program: Program, base: Sequence[int] | None = None) -> float:
        """Return the mean share of the gap from the best classic policy that a program closes."""
        shares = self.shares([hits(program, case) for case in self.cases], base or self.classic)
        return float(np.mean(shares))

    def shares(self, found: Sequence[int], base: Sequence[int]) -> list[float]:
        """Return the share of each gap that hits close."""
        return [
            (ours - low) / (high - low) if high > low else 1.0
            for ours, low, high in zip(found, base, self.best, strict=True)
        ]


def part_of(name: str, made: StreamBlocks, contexts: int) -> Part:
    """Return requests with two sizes of memory."""
    least = int(made.blocks.need.max(initial=1))
    cases = tuple(CacheCase(name, made, max(least, int(share * contexts))) for share in SHARES)

    def run(case: CacheCase, policy: str) -> int:
        return int(run_pool(made, "sequential", case.capacity, policy)["hit_blocks"])

    classic = tuple(max(run(case, policy) for policy in CLASSIC) for case in cases)
    ends = tuple(max(low, run(c, "priority")) for c, low in zip(cases, classic, strict=True))
    return Part(cases, classic, ends, tuple(case.bound for case in cases))


def splits_of_agents(path: Path, n: int, rng: Any) -> list[tuple[Part, Part]]:
    """Return training and held-out sessions: each session is held out once."""
    trace = load(path).trace
    assert isinstance(trace, SessionTrace)
    order = rng.permutation(len(trace.sessions))
    found = []
    for held_out in np.array_split(order, n):
        others = rng.permutation(np.setdiff1d(order, held_out))[:TRAINING]
        parts = []
        for name, chosen in (("training", others), ("held out", held_out)):
            some = SessionTrace(tuple(trace.sessions[i] for i in chosen), trace.piece)
            block = BLOCKS["agents"]
            made = stream_of(some, StreamSettings(live=LIVE)).blocks(block)
            parts.append(part_of(name, made, live_blocks(made.stream, block, LIVE)))
        found.append((parts[0], parts[1]))
    return found


def splits_of_requests(path: Path, n: int) -> list[tuple[Part, Part]]:
    """Return windows of a trace without sessions: rules are made on one, held out is the next."""
    content = load(path)
    n_requests = len(stream_of(content.trace, StreamSettings()))
    cuts = np.linspace(0, n_requests, n + 1).astype(int).tolist()
    windows = []
    for low, high in itertools.pairwise(cuts):
        cut = stream_of(content.trace, StreamSettings(first=low, last=high))
        made = cut.blocks(BLOCKS["requests"])
        windows.append(part_of(f"{low}-{high}", made, made.n_identities // 10))
    return [(windows[i], windows[(i + 1) % n]) for i in range(n)]


# ---- three ways to make a rule


def tuned(part: Part, allowed: Sequence[int], trials: int, rng: Any) -> Program:
    """Return a linear score whose weights are changed one at a time, better ones kept."""
    # Seconds that the largest usual value of a feature is worth, at most.
    weights, best = np.zeros(len(FEATURES)), -np.inf
    for trial in range(trials):
        drawn = weights.copy()
        if trial:
            at = int(rng.choice(np.array(allowed)))
            if drawn[at] and rng.random() < 0.5:
                drawn[at] *= rng.choice((0.0, -1.0, 0.3, 3.0))
            else:
                drawn[at] = rng.choice((-1, 1)) * 10 ** rng.uniform(0, 5) / _USUAL[at]
        found = part.closed(_linear(drawn))
        if found > best:
            weights, best = drawn, found
    return _linear(weights)


def _linear(values: Any) -> Program:
    whole: Program = ("c", 0.0)
    for number, value in enumerate(values):
        if value:
            whole = ("+", whole, ("*", ("c", _rounded(value)), ("f", number)))
    return whole


def reinforced(
    part: Part, allowed: Sequence[int], trials: int, rng: Any, pairs: int = 4
) -> Program:
    """Return a linear score made by a policy gradient with exploration of its weights.

    The policy draws weights from a normal distribution at the start of an episode, which is a
    replay of the training sessions; the reward is the share of the gap. Each step moves the mean
    and the spread by some pairs of opposite draws (F. Sehnke et al., PGPE, 2010).
    """
    chosen = list(allowed)
    # Logarithmic in seconds, so that a step of 1 is a factor of ten.
    mean, spread = np.zeros(len(chosen)), np.full(len(chosen), 1.5)
    best, found = _linear(np.zeros(len(FEATURES))), -np.inf

    def program(values: Any) -> Program:
        weights = np.zeros(len(FEATURES))
        weights[chosen] = np.sign(values) * (10.0 ** np.minimum(np.abs(values), 6.0) - 1.0)
        return _linear(weights / _USUAL)

    for _ in range(trials // (2 * pairs)):
        drawn = rng.normal(size=(pairs, len(chosen))) * spread
        made = [[program(mean + sign * each) for sign in (1, -1)] for each in drawn]
        rewards = np.array([[part.closed(each) for each in pair] for pair in made])
        for each, reward in zip(itertools.chain(*made), rewards.ravel(), strict=True):
            if reward > found:
                best, found = each, reward
        scale = rewards.std() + 1e-9
        slope = (rewards[:, 0] - rewards[:, 1]) / (2.0 * scale)
        mean = mean + 0.5 * (slope[:, None] * drawn).mean(axis=0)
        surplus = (rewards.mean(axis=1) - rewards.mean()) / scale
        change = (surplus[:, None] * (drawn**2 - spread**2) / spread).mean(axis=0)
        spread = np.clip(spread + 0.1 * change, 0.3, 3.0)
    last = program(mean)
    return last if part.closed(last) > found else best


def imitation(part: Part, allowed: Sequence[int], leaves: int = 12) -> Program:
    """Return a tree that says how likely the optimum keeps a block, as seconds on top of LRU."""
    from sklearn.tree import DecisionTreeRegressor

    rows, kept = [], []
    for case in part.cases:
        made = case.made
        blocks, _ = made.with_next_uses(case.capacity)
        belady = run_pool(made, "sequential", case.capacity, "belady")["hits"]
        n_full = np.diff(blocks.start)
        request = np.repeat(np.arange(len(n_full)), n_full)
        depth = np.arange(len(request)) - blocks.start[request]
        following = np.where(blocks.next_use == NEVER, 0, blocks.next_use)
        is_kept = (blocks.next_use != NEVER) & (depth < belady[following])
        memory = _memory(case)
        floats = np.zeros(_N_FLOATS + 9 * len(request))
        CACHE.simulate(RECORD, SimpleNamespace(memory=memory, floats=floats), case.arguments())
        # Scores are taken from a request's last full block to its first.
        order = np.lexsort((-depth, request))
        order = order[blocks.need[request[order]] <= case.capacity]
        assert memory[4] == len(order)
        found = floats[_N_FLOATS:].reshape(-1, 9)[: len(order)]
        rows.append(found)
        kept.append(is_kept[order])
    x, y = np.concatenate(rows), np.concatenate(kept).astype(float)
    some = np.linspace(0, len(x) - 1, min(len(x), 300_000)).astype(int)
    model = DecisionTreeRegressor(max_leaf_nodes=leaves, min_samples_leaf=0.002, random_state=0)
    tree = model.fit(x[some][:, list(allowed)], y[some]).tree_

    def program(node: int, scale: float) -> Program:
        if tree.children_left[node] < 0:
            return ("c", _rounded(scale * float(tree.value[node].squeeze())))
        feature = allowed[tree.feature[node]]
        return ("if", ("f", feature), ("c", float(np.floor(tree.threshold[node])) + 0.5),
                program(tree.children_left[node], scale),
                program(tree.children_right[node], scale))  # fmt: skip

    scales = [10.0**power for power in np.linspace(1, 7, 9)]
    return max((program(0, scale) for scale in scales), key=part.closed)


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")


def _random(allowed: Sequence[int], rng: Any, depth: int = 2) -> Program:
    if depth == 0 or rng.random() < 0.3:
        if rng.random() < 0.6:
            return ("f", int(rng.choice(np.array(allowed))))
        return ("c", _rounded(float(rng.choice((-1, 1)) * 10 ** rng.uniform(-1, 5))))
    kind = str(rng.choice(["+", "-", "*", "/", "min", "max", "if"]))
    parts = 4 if kind == "if" else 2
    return (kind, *(_random(allowed, rng, depth - 1) for _ in range(parts)))


def _nodes(program: Program) -> list[tuple[int, ...]]:
    """Return the paths of all nodes."""
    found: list[tuple[int, ...]] = [()]
    if program[0] not in ("f", "c"):
        for at, part in enumerate(program[1:], 1):
            found += [(at, *path) for path in _nodes(part)]
    return found


def _get(program: Program, path: tuple[int, ...]) -> Program:
    for at in path:
        program = program[at]
    return program


def _put(program: Program, path: tuple[int, ...], new: Program) -> Program:
    if not path:
        return new
    at = path[0]
    return (*program[:at], _put(program[at], path[1:], new), *program[at + 1 :])


def _mutated(program: Program, other: Program, allowed: Sequence[int], rng: Any) -> Program:
    paths = _nodes(program)
    path = paths[int(rng.integers(len(paths)))]
    old = _get(program, path)
    way = rng.random()
    if old[0] == "c" and way < 0.5:
        new: Program = ("c", _rounded(old[1] * float(np.exp(rng.normal()))))
    elif way < 0.25:
        donors = _nodes(other)
        new = _get(other, donors[int(rng.integers(len(donors)))])
    elif way < 0.5:
        kind = str(rng.choice(["+", "-", "*", "min", "max"]))
        new = (kind, old, _random(allowed, rng, 1))
    elif way < 0.65:
        new = ("if", ("f", int(rng.choice(np.array(allowed)))), _random(allowed, rng, 0), old,
               _random(allowed, rng, 1))  # fmt: skip
    elif way < 0.8 and old[0] not in ("f", "c"):
        new = old[int(rng.integers(1, len(old)))]
    else:
        new = _random(allowed, rng)
    return _put(program, path, new)


def evolved(
    part: Part, allowed: Sequence[int], trials: int, rng: Any, seeds: Sequence[Program]
) -> Program:
    """Return the best program of a search that mutates those it has, short ones preferred."""

    def worth(program: Program) -> float:
        return part.closed(program) - 2e-4 * size(program)

    pool = [(worth(seed), seed) for seed in seeds]
    seen = {seed for _, seed in pool}
    while trials > 0:
        picked = [pool[int(i)] for i in rng.integers(len(pool), size=3)]
        parent = max(picked, key=lambda each: each[0])[1]
        other = pool[int(rng.integers(len(pool)))][1]
        child = _mutated(parent, other, allowed, rng)
        if child in seen or size(child) > 60:
            continue
        seen.add(child)
        trials -= 1
        pool = sorted([*pool, (worth(child), child)], key=lambda each: -each[0])[:20]
    return pool[0][1]


# ---- the study


def study(
    name: str,
    splits: Sequence[tuple[Part, Part]],
    allowed: Sequence[int],
    trials: int,
    rng: Any,
    is_reinforced: bool,
) -> list[dict[str, Any]]:
    """Return a row for each split and way."""
    rows = []
    for number, (training, held_out) in enumerate(splits):
        if is_reinforced:
            made = {"reinforced": reinforced(training, allowed, trials, rng)}
        else:
            linear = tuned(training, allowed, trials, rng)
            tree = imitation(training, allowed)
            first: list[Program] = [("c", 0.0), linear, tree]
            if 8 in allowed:
                first.append(("*", ("c", -1e6), ("f", 8)))
            best = evolved(training, allowed, trials, rng, first)
            made = {"linear": linear, "imitation": tree, "evolved": best}
        for way, program in made.items():
            found = [hits(program, case) for case in held_out.cases]
            text = rule_of(program, f"{way} rule of {name}, split {number}.")
            source = check_rule(text)
            bits = [source.state_bits(case.sizes) / case.capacity for case in held_out.cases]
            rows.append(
                {
                    "trace": name, "split": number, "way": way, "nodes": size(program),
                    "training": round(training.closed(program), 4),
                    **{f"closed_{share:g}": round(each, 4) for share, each in
                       zip(SHARES, held_out.shares(found, held_out.classic), strict=True)},
                    **{f"beyond_priority_{share:g}": round(each, 4) for share, each in
                       zip(SHARES, held_out.shares(found, held_out.known_end), strict=True)},
                    **{f"priority_{share:g}": round(each, 4) for share, each in
                       zip(SHARES, held_out.shares(held_out.known_end, held_out.classic),
                           strict=True)},
                    "bits_a_block": round(max(bits), 1),
                    "hits": json.dumps(found), "program": json.dumps(program),
                }
            )  # fmt: skip
            print(*list(rows[-1].values())[:-1], sep="\t", flush=True)
    # The interpreter and the sandbox must agree: a rule is code, not what stands for it here.
    with RuleRunner(seconds=600.0) as runner:
        result: Any = CACHE.evaluate(source, held_out.cases[0], runner, None)
    assert result.counts.get("hits") == found[0], (result.problem, text)
    return rows


def summary(rows: Sequence[dict[str, Any]]) -> None:
    """Print means with intervals of 95 % over splits."""
    for trace, way in dict.fromkeys((row["trace"], row["way"]) for row in rows):
        chosen = [row for row in rows if (row["trace"], row["way"]) == (trace, way)]
        cells = []
        for column in ("closed_0.25", "closed_0.5", "beyond_priority_0.25", "beyond_priority_0.5"):
            values = np.array([row[column] for row in chosen])
            half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
            cells.append(f"{100 * values.mean():.1f} ({100 * half:.1f})")
        print(trace, way, *cells, sep="\t")


def main() -> None:
    """Run the study, or a part of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reference", type=Path, metavar="DIR")
    names = ("agents", "agents-unknown-end", "chat", "synthetic")
    parser.add_argument("--only", choices=names, nargs="+", default=names)
    parser.add_argument("--splits", type=int, default=4)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--reinforced", action="store_true")
    given = parser.parse_args()
    folder = given.reference / "kv" / "traces"
    every = tuple(range(len(FEATURES)))
    rows: list[dict[str, Any]] = []
    for name, file, allowed in (
        ("synthetic", "mooncake_synthetic", every[:5]),
        ("chat", "mooncake_conversation_first", every[:5]),
        ("agents", "claude_code_shared", every),
        ("agents-unknown-end", "claude_code_shared", every[:8]),
    ):
        if name not in given.only:
            continue
        rng = np.random.default_rng(0)
        path = folder / f"{file}.jsonl.gz"
        is_agents = name.startswith("agents")
        splits = (
            splits_of_agents(path, given.splits, rng)
            if is_agents
            else splits_of_requests(path, given.splits)
        )
        rows += study(name, splits, allowed, given.trials, rng, given.reinforced)
    part = "-reinforced" if given.reinforced else "-" + given.only[0]
    write(f"kv-held-out{'' if given.only == names else part}.csv", rows)
    summary(rows)


if __name__ == "__main__":
    main()
