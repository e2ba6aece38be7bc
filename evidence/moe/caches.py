"""Rows V1, V2, V3, V19 and V20: caches, locality and balancer against programs of others."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from archgym.simulators.moe.kernel.caches import tie_order
from archgym.simulators.moe.kernel.replay import Events, ReplayResult, replay_events
from archgym.simulators.moe.machine.eplb import balance
from archgym.simulators.moe.workloads.routing import Routing
from evidence.moe.locality import hit_rates, segment_routing
from evidence.moe.row import (
    Progress,
    Row,
    read_arrays,
    read_json,
    read_table,
    reading,
)
from evidence.moe.sequential import replay_sequential

# The reference's seed of the numbers that decide between equals.
_TIE_SEED: Final = 20260729
# Its names of policies and ours, with the admission.
_POLICIES: Final = {
    "lru": ("lru", "bypass"),
    "lfu": ("lfu", "bypass"),
    "lfru": ("lfru", "bypass"),
    "least_stale": ("least-stale", "bypass"),
    "static": ("static", "bypass"),
    "belady": ("belady", "bypass"),
    "belady_forced_admit": ("belady", "forced"),
}
_SCOPES: Final = {"global": "global", "per_layer": "layer"}
_COUNTS: Final = ("hits", "misses", "evictions", "insertions")
_TIES: Final = "between equals the reference's seeded numbers decide"


def event_rows(reference: Path, progress: Progress) -> list[Row]:
    """Return V1: counts of moe-cache-eval on two traces, one row a policy and semantics."""
    path = reference / "event_atomic" / "expected.json"
    with reading(path):
        expected = read_json(path)
        differences: dict[tuple[str, str], list[int]] = {}
        totals: dict[tuple[str, str], list[int]] = {}
        for name, case in expected.items():
            progress(f"V1: {len(case['runs'])} replays of {name}")
            events = _events(path.with_name(f"{name}.npz"))
            for run in case["runs"]:
                key = (run["sem"], run["policy"])
                found = _replay_run(events, run)
                pairs = [(getattr(found, count), int(run[count])) for count in _COUNTS]
                differences.setdefault(key, []).append(sum(abs(a - b) for a, b in pairs))
                entry = totals.setdefault(key, [0, 0])
                entry[0] += int(run["hits"])
                entry[1] += found.hits
        return [
            Row(
                "V1",
                f"{policy}, {semantics.replace('_', '-')}: hits of {len(differences[key])} "
                "replays; the error sums all four counts",
                totals[key][0],
                totals[key][1],
                "hits",
                float(sum(differences[key])),
                0.0,
                "counts",
                note=_TIES if semantics == "event_atomic" else "",
            )
            for key in sorted(differences)
            for semantics, policy in [key]
        ]


def _events(path: Path) -> Events:
    with reading(path):
        found = read_arrays(path)
        return Events(
            found["layer"],
            found["step"],
            found["offsets"],
            found["expert_ids"].astype(np.int32),
            int(found["L"]),
            int(found["E"]),
        )


def balancedness(loads: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return mean over largest load of each layer, (n_layers,); 1 is even."""
    highest = loads.max(axis=1)
    return np.where(highest > 0, loads.mean(axis=1) / np.where(highest > 0, highest, 1.0), 1.0)


def _replay_run(events: Events, run: Mapping[str, Any]) -> ReplayResult:
    policy, admission = _POLICIES[run["policy"]]
    is_sequential = run["sem"] == "sequential"
    tie: npt.NDArray[np.float64] = tie_order(_TIE_SEED, events.n_blocks)
    if is_sequential:
        # One at a time, the reference drops the lowest block of equals, and Belady the highest.
        tie = np.arange(events.n_blocks, dtype=np.float64)
        if policy == "belady":
            tie = -tie
    replay = replay_sequential if is_sequential else replay_events
    return replay(
        events,
        policy,
        int(run["capacity"]),
        scope=_SCOPES[run["scope"]],
        admission=admission,
        tie=tie,
    )


def toy_rows(reference: Path, progress: Progress) -> list[Row]:
    """Return V20: a case small enough to follow by hand."""
    path = reference / "event_atomic" / "toy_events.csv"
    progress("V20: a replay by hand")
    with reading(path):
        table = read_table(path)
        sets = [[int(expert) for expert in row["requested_experts"].split()] for row in table]
        events = Events(
            np.array([int(row["layer"]) for row in table]),
            np.array([int(row["scheduler_step"]) for row in table]),
            np.concatenate(([0], np.cumsum([len(each) for each in sets]))),
            np.array([expert for each in sets for expert in each], dtype=np.int32),
            n_layers=3,
            n_experts=4,
        )
        found = replay_events(events, "lru", 6, scope="layer")
        misses = np.array([int(row["misses"]) for row in table])
        wrong = int((found.event_misses != misses).sum())
    wanted = {"hits": 12, "misses": 18, "evictions": 12}
    rows = [
        Row(
            "V20",
            f"LRU, two slots a layer: {name}",
            count,
            getattr(found, name),
            name,
            abs(getattr(found, name) - count),
            0.0,
            "counts",
        )
        for name, count in wanted.items()
    ]
    what = "the same: events whose misses differ"
    return [*rows, Row("V20", what, 0, wrong, "events", wrong, 0.0, "counts")]


def locality_rows(reference: Path, progress: Progress) -> list[Row]:
    """Return V2: SRP, SCH, LRU, LFU and Belady of moe-lrc's own code at every size of cache."""
    path = reference / "moe_lrc" / "expected.json"
    rows: list[Row] = []
    with reading(path):
        for name, case in read_json(path).items():
            progress(f"V2: locality of {name}")
            routing = _documents(path.with_name(f"{name}.npz"))
            sizes = range(1, routing.n_experts + 1)
            for rule in ("LRU", "LFU", "Belady"):
                found = hit_rates(routing, 0, rule.lower(), sizes)
                rows.append(_curve_row(f"{name}: {rule}", found, case[rule]))
            for window, curve in case["SCH"].items():
                found = hit_rates(routing, 0, "sch", sizes, int(window))
                rows.append(_curve_row(f"{name}: SCH of {window} tokens", found, curve))
            for window, wanted in case["SRP"].items():
                rows.append(_segment_row(name, routing, int(window), wanted))
    return rows


def _documents(path: Path) -> Routing:
    with reading(path):
        found = read_arrays(path)
        experts = found["topk"].astype(np.int16)
        n_documents, n_tokens, top_k = experts.shape
        starts = np.arange(n_documents + 1, dtype=np.int64) * n_tokens
        return Routing(experts.reshape(-1, 1, top_k), starts, int(found["num_experts"]))


def _curve_row(what: str, found: npt.NDArray[np.float64], wanted: Sequence[float]) -> Row:
    curve = np.asarray(wanted, dtype=np.float64)
    worst = int(np.argmax(np.abs(found - curve)))
    return Row(
        "V2",
        f"{what}, {len(curve)} sizes; that of {worst + 1} experts is shown",
        float(curve[worst]),
        float(found[worst]),
        "hit rate",
        float(abs(found - curve).max()),
        1e-6,
        "absolute",
    )


def _segment_row(name: str, routing: Routing, window: int, wanted: Mapping[str, Any]) -> Row:
    found = segment_routing(routing, 0, window)
    if found is None:
        raise ValueError(f"no document has {window} tokens")
    by_expert = np.abs(found.by_expert - np.asarray(wanted["expert_srp"], dtype=np.float64))
    errors = (
        abs(found.performance - wanted["group_srp"]),
        abs(found.size - wanted["rho_hat"]),
        abs(found.threshold - wanted["alpha"]),
        float(by_expert.max()),
    )
    return Row(
        "V2",
        f"{name}: SRP of {window} tokens, its threshold and size, and that of each expert",
        float(wanted["group_srp"]),
        found.performance,
        "F1",
        float(max(errors)),
        1e-6,
        "absolute",
    )


def library_rows(reference: Path, progress: Progress) -> list[Row]:
    """Return V3: hit ratios of libCacheSim, one use at a time."""
    path = reference / "libcachesim" / "expected.json"
    rows: list[Row] = []
    with reading(path):
        for name, case in read_json(path).items():
            progress(f"V3: {name}")
            ids = read_arrays(path.with_name(f"{name}.npz"))["ids"]
            n_objects = int(ids.max()) + 1
            zeros = np.zeros(len(ids), dtype=np.int64)
            events = Events(
                zeros, zeros, np.arange(len(ids) + 1), ids.astype(np.int32), 1, n_objects
            )
            for policy in ("LRU", "FIFO", "Belady"):
                rows.append(_library_row(name, policy, events, case))
    return rows


def _library_row(name: str, policy: str, events: Events, case: Mapping[str, Any]) -> Row:
    """Return the worst size of one trace and policy."""
    errors, published, ours = [], [], []
    n_uses = len(events.experts)
    for size, ratios in case.items():
        found = replay_sequential(
            events,
            policy.lower(),
            int(size),
            admission="forced",
            tie=np.arange(events.n_blocks, dtype=np.float64),
        )
        published.append(float(ratios[policy]))
        ours.append(found.hits / n_uses)
        # The file prints six digits; what is left are whole hits.
        errors.append(abs(found.hits - round(published[-1] * n_uses)))
    worst = int(np.argmax(errors))
    return Row(
        "V3",
        f"{policy} on {name}, {len(errors)} sizes; that of {list(case)[worst]} objects is shown",
        published[worst],
        ours[worst],
        "hit rate",
        float(max(errors)),
        0.0,
        "hits",
    )


_NOTE: Final = (
    "where two copies are equally busy, PyTorch's sort, which is not stable, orders them as the "
    "processor's vector instructions do; slots that differ hold copies of equal load"
)


def balance_rows(reference: Path, progress: Progress) -> list[Row]:
    """Return V19: the slots of every case, and how even their loads are."""
    path = reference / "eplb" / "expected.json"
    rows: list[Row] = []
    with reading(path):
        for name, case in read_json(path).items():
            progress(f"V19: {name}")
            rows += _case_rows(name, case)
    return rows


def _case_rows(name: str, case: Mapping[str, Any]) -> list[Row]:
    weight = np.asarray(case["weight"], dtype=np.float64)
    wanted = np.asarray(case["phy2log"], dtype=np.int64)
    placed = balance(weight, *(int(value) for value in case["args"]))
    copies = np.asarray(case["logcnt"], dtype=np.int64)
    shares = (weight / placed.copies).astype(np.float32)
    equal = np.take_along_axis(shares, wanted, 1) == np.take_along_axis(shares, placed.slots, 1)
    same = placed.slots == wanted
    wrong = int((~(same | equal)).sum()) + int((placed.copies != copies).sum())
    even = np.asarray(case["balancedness_mean_over_max"], dtype=np.float64)
    ours = balancedness(placed.loads(weight))
    worst = int(np.argmax(np.abs(ours - even)))
    identical = int(same.sum())
    return [
        Row(
            "V19",
            f"{name}: slots with the reference's expert, or with one of equal load",
            wanted.size,
            wanted.size - wrong,
            "slots",
            float(wrong),
            0.0,
            "slots",
            note="" if identical == wanted.size else f"{identical} are identical; {_NOTE}",
        ),
        Row(
            "V19",
            f"{name}: mean over largest load of a layer",
            float(even[worst]),
            float(ours[worst]),
            "ratio",
            float(np.abs(ours - even).max()),
            1e-6,
            "absolute",
        ),
    ]
