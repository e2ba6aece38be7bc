"""Prefix caches: policies against the optimum, held-out rules, cheapest tiers, measured runs.

    python -m experiments.kv policies [--reference DIR]
    python -m experiments.kv rules
    python -m experiments.kv tiers
    python -m experiments.kv measured --reference DIR

DIR holds recorded traces and runs as `kv`. Tables are printed and written to `experiments/data`,
pictures to `experiments/pictures`.
"""

import argparse
import csv
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from archgym.evaluation.simulator import FEASIBLE
from archgym.rules.domain import domain
from archgym.rules.language import check_rule
from archgym.rules.sandbox import RuleRunner
from archgym.simulators.kv import KvSimulator
from archgym.simulators.kv.analysis import live_blocks
from archgym.simulators.kv.costs import Served, run_design
from archgym.simulators.kv.kernel.policies import POLICIES
from archgym.simulators.kv.kernel.run import optimum, run_pool
from archgym.simulators.kv.kernel.serving import Service
from archgym.simulators.kv.machine import deployment
from archgym.simulators.kv.rules.case import open_case
from archgym.simulators.kv.workloads.stream import StreamBlocks, StreamSettings
from archgym.simulators.kv.workloads.traces import load, stream_blocks
from archgym.simulators.moe.machine.columns import FIRST_NS

DATA: Final = Path(__file__).parent / "data"
PICTURES: Final = Path(__file__).parent / "pictures"


def write(name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as CSV, and print them."""
    with (DATA / name).open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print(*row.values(), sep="\t", flush=True)


# ---- policies against the optimum


def policies(reference: Path | None) -> None:
    """Compare all policies on four traces at three capacities."""
    names = {"coding": (64, 8), "coding-long": (64, 8), "chat": (512, 0), "tools": (512, 0)}
    rows = []
    for name, (block, live) in names.items():
        made = stream_blocks(load(name), StreamSettings(), block)
        # Contexts of live sessions; for traces without sessions, a tenth of what they touch.
        whole = live_blocks(made.stream, block, live) if live else made.n_identities // 10
        for share in (0.25, 0.5, 1.0):
            size = max(int(share * whole), int(made.blocks.need.max()))
            best = optimum(made, size, size)
            hits = {
                policy: run_pool(made, "sequential", size, policy)["hit_blocks"]
                for policy in POLICIES
            }
            eligible = int(made.blocks.eligible.sum())
            gap = best - hits["lru"]
            rows.append(
                {
                    "trace": name,
                    "share": share,
                    "blocks": size,
                    "optimum_percent": round(100 * best / eligible, 2),
                    "lru_percent": round(100 * hits["lru"] / eligible, 2),
                    **{
                        policy: round(100 * (hits[policy] - hits["lru"]) / gap, 1) if gap else 100.0
                        for policy in POLICIES
                        if policy != "lru"
                    },
                }
            )
    write("kv-policies.csv", rows)


# ---- rules on held-out sessions

LINEAR: Final = '''"""Linear score of time, reuse, depth and state of the agent."""
DOMAIN = "kv-cache"
USES = tunable(0, low=0, high=4000)
DEPTH = tunable(0, low=0, high=2000)
ENDED = tunable(0, low=0, high=4000)
PAUSE = tunable(0, low=0, high=4000)
uses = per_block(bits=3)
over = per_session(bits=1)
gap = per_session(bits=24)
last = per_session(bits=32)


def on_request(session, time):
    if last[session] > 0:
        gap[session] = min((gap[session] + time - last[session]) // 2, 16000000)


def on_fill(block, depth, session, time):
    uses[block] = 0


def on_hit(block, depth, session, time):
    uses[block] = min(uses[block] + 1, 7)


def on_tool_pause(session, ended, time):
    over[session] = ended
    last[session] = time


def score(block, depth, left, session, time):
    bonus = 1000 * USES * uses[block] - DEPTH * depth - 1000 * ENDED * over[session]
    return time + bonus - PAUSE * gap[session] // 1000
'''


def rules() -> None:
    """Tune a linear rule on ten and twelve sessions, and evaluate it on those held out."""
    parts = {"coding": ("coding@0-10", "coding@10-20"),
             "coding-long": ("coding-long@0-12", "coding-long@12-24")}  # fmt: skip
    chosen = domain("kv-cache")
    source = check_rule(LINEAR)
    runner = RuleRunner(seconds=300.0)
    rng = np.random.default_rng(0)
    rows = []
    try:
        for (name, (train, held_out)), percent in itertools.product(parts.items(), ("25", "50")):
            cases = [open_case(part, {"memory_percent": percent}) for part in (train, held_out)]
            best, best_loss = {each.name: each.default for each in source.tunables}, np.inf
            for trial in range(40):
                tuned = dict(best)
                if trial:
                    drawn = source.tunables[int(rng.integers(len(source.tunables)))]
                    span = drawn.high if trial % 3 else 200
                    tuned[drawn.name] = int(rng.integers(drawn.low, span + 1))
                loss = chosen.evaluate(source, cases[0], runner, tuned).loss
                if loss < best_loss:
                    best, best_loss = tuned, loss
            result: Any = chosen.evaluate(source, cases[1], runner, best)
            built_in = {
                rule: chosen.evaluate_built_in(rule, cases[1]).loss for rule in chosen.built_in
            }
            classic = min(
                (rule for rule in built_in if rule not in ("priority", "ttl", "tail-lru")),
                key=lambda rule: built_in[rule],
            )
            rows.append(
                {
                    "trace": name,
                    "memory_percent": percent,
                    "train_loss": round(float(best_loss), 4),
                    "held_out_loss": round(result.loss, 4),
                    "best_classic": classic,
                    "classic_loss": round(built_in[classic], 4),
                    "priority_loss": round(built_in["priority"], 4),
                    # Of the gap from the best classic policy to the optimum.
                    "closed_percent": round(
                        100 * (1 - result.loss / built_in[classic]) if built_in[classic] else 0.0, 1
                    ),
                    "bits_a_block": round((result.state_bits or 0) / cases[1].capacity, 1),
                    "tuned": json.dumps(best),
                }
            )
    finally:
        runner.close()
    write("kv-rules.csv", rows)


# ---- proven cheapest tiers


def tiers() -> None:
    """Evaluate every design of a reduced space, and report the cheapest for each hit rate."""
    simulator = KvSimulator("serving", hardware="h100", live=20)
    workload = simulator.workload("coding")
    base = dict(simulator.space.design_at(simulator.space.default_indices))
    levels = {
        "dram_gb": (0, 64, 128, 256, 512),
        "cxl_gb": (0, 256, 512),
        "flash_gb": (0, 1000, 4000),
        "policy": ("lru", "priority"),
    }
    designs = [
        {**base, **dict(zip(levels, values, strict=True))}
        for values in itertools.product(*levels.values())
    ]
    indices = np.array([simulator.space.indices_of(design) for design in designs])
    indices = np.unique(simulator.space.canonical(indices), axis=0)
    result = simulator.evaluate_batch(indices, workload)
    built = result.reason == FEASIBLE
    column = {spec.name: result.values[:, i] for i, spec in enumerate(simulator.metrics)}
    rows = []
    targets = [("found_percent", column["found_percent"], wanted) for wanted in (70, 80, 85, 90)]
    targets += [("ttft_p90_ms", -column["ttft_p90_ms"], -ms) for ms in (5_000, 3_000, 2_000)]
    for metric, values, wanted in targets:
        meets = built & (values >= wanted)
        row = {"metric": metric, "wanted": abs(wanted), "designs": len(indices)}
        row["meet"] = int(meets.sum())
        shown = ("usd_per_hour", "found_percent", "ttft_p90_ms")
        names = [*shown, *levels]
        if not meets.any():
            rows.append({**row, **dict.fromkeys(names, "")})
            continue
        at = int(np.flatnonzero(meets)[np.argmin(column["usd_per_hour"][meets])])
        design = simulator.space.design_at(indices[at])
        row |= {name: round(float(column[name][at]), 4) for name in shown}
        rows.append({**row, **{name: design[name] for name in levels}})
    write("kv-tiers.csv", rows)


# ---- measured runs

_DEPLOYED: Final = {
    "RTX4090_Llama-3.1-8B": ("rtx-4090", "llama-3.1-8b", 1),
    # Two engines, each with its cache and its part of the experts.
    "RTXPRO6000_Qwen3-30B-A3B-Instruct-2507": ("2x-rtx-pro-6000", "qwen3-30b-a3b", 2),
}


def measured(reference: Path) -> None:
    """Compare first tokens of two measured runs, request by request, with and without hits."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    rows = []
    with mpl.rc_context({"svg.hashsalt": "archgym", "font.size": 9}):
        figure = Figure(figsize=(9, 7.5), layout="constrained")
        axes = figure.subplots(2, 2)
        for line, (name, (hardware, model, workers)) in zip(axes, _DEPLOYED.items(), strict=True):
            folder = reference / "kv" / "measured" / name
            theirs = _measured_times(folder)
            meta = json.loads((folder / "meta.json").read_text())
            for plot, has_cache in zip(line, (True, False), strict=True):
                made = _measured_stream(folder, has_cache)
                run = _served(made, hardware, model, workers, meta)
                ours = run.fleet.requests
                # The engine's own clock begins when a request is queued, after its handling.
                ttft = ours.first - ours.ready - 1e-6 * run.costs.costs[FIRST_NS]
                tpot = (ours.last - ours.first) / np.maximum(1, made.stream.arrivals.output - 1)
                hits = ours.hits * made.block > 0
                rows.append(
                    {
                        "run": name,
                        "prefix_cache": "on" if has_cache else "off",
                        "hit_percent": round(
                            100 * ours.hits.sum() * made.block / made.stream.arrivals.prompt.sum(),
                            2,
                        ),
                        **_errors("ttft", ttft, theirs[0]),
                        **_errors("tpot", tpot, theirs[1]),
                        "ttft_error_of_hits": round(_median_error(ttft, theirs[0], hits), 1),
                        "ttft_error_of_others": round(_median_error(ttft, theirs[0], ~hits), 1),
                    }
                )
                plot.loglog(theirs[0], np.maximum(ttft, 0.1), ".", color="0.6", markersize=3)
                plot.loglog(theirs[0][hits], ttft[hits], "o", markersize=3, label="with hits")
                span = [theirs[0].min(), theirs[0].max()]
                plot.loglog(span, span, "k:", linewidth=0.8)
                plot.set_title(f"{name}, prefix cache {'on' if has_cache else 'off'}", fontsize=8)
                plot.set_xlabel("measured time to first token [ms]")
                plot.set_ylabel("simulated [ms]")
        figure.savefig(PICTURES / "kv-measured.png", dpi=110, metadata={"Software": None})
    write("kv-measured.csv", rows)


def _measured_times(folder: Path) -> tuple[Any, Any]:
    rows = [json.loads(line) for line in (folder / "requests.jsonl").read_text().splitlines()]
    rows.sort(key=lambda row: int(row["request_id"].rpartition("-")[2]))
    first = np.array([row["first_token_ts"] - row["queued_ts"] for row in rows])
    whole = np.array([row["last_token_ts"] - row["first_token_ts"] for row in rows])
    return 1e3 * first, 1e3 * whole / np.array([max(1, row["output_toks"] - 1) for row in rows])


def _measured_stream(folder: Path, has_cache: bool) -> StreamBlocks:
    import gzip

    with gzip.open(folder / "prefix_ids.jsonl.gz", "rt") as handle:
        rows = [json.loads(line) for line in handle]
    lines: list[dict[str, Any]] = [{"piece_tokens": 16}]
    unknown = 10**9
    for row in rows:
        n = -(-row["P"] // 16)
        ids = [*row["ids"][:n]]
        ids += [unknown + i for i in range(n - len(ids))]
        unknown += n
        lines.append(
            {
                "timestamp": row["arrival_ns"] // 10**6,
                "input_length": row["P"],
                "output_length": row["O"],
                "hash_ids": ids if has_cache else [],
            }
        )
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "run.jsonl"
        path.write_text("\n".join(map(json.dumps, lines)))
        return stream_blocks(load(path), StreamSettings(), 16)


def _served(
    made: StreamBlocks, hardware: str, model: str, workers: int, meta: Mapping[str, Any]
) -> Service:
    release = "vllm 0.19"
    served = Served(
        hardware, model, "bf16", "vllm", release, workers > 1, False, 1, 0, 2000.0, 50.0, 1.0, 450.0
    )
    deployed = deployment(hardware, model, "bf16", "vllm", release, 1, workers)
    design = {
        "workers": workers, "prefill_workers": 0, "tensor": 1,
        "max_seqs": meta["engine_kwargs"]["max_num_seqs"],
        "token_budget": meta["engine_kwargs"]["max_num_batched_tokens"],
        "policy": "lru", "tier_policy": "lru",
        "routing": "least-loaded", "write": "through", "reload": "layerwise", "prefetch": "off",
    }  # fmt: skip
    # What the engine reported, where it did; else what fits by our reckoning.
    blocks = meta.get("kv_cache", {}).get("num_gpu_blocks", 0)
    return run_design(made, design, served, deployed, blocks)


def _errors(name: str, ours: Any, theirs: Any) -> dict[str, float]:
    return {
        f"{name}_measured_ms": round(float(np.mean(theirs)), 1),
        f"{name}_ms": round(float(np.mean(ours)), 1),
        f"{name}_error_percent": round(100 * float(np.mean(ours) / np.mean(theirs) - 1), 1),
        f"{name}_median_error": round(_median_error(ours, theirs), 1),
    }


def _median_error(ours: Any, theirs: Any, chosen: Any = slice(None)) -> float:
    ours, theirs = ours[chosen], theirs[chosen]
    return float(np.median(100 * np.abs(ours / theirs - 1))) if len(ours) else 0.0


def main() -> None:
    """Run one study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=("policies", "rules", "tiers", "measured"))
    parser.add_argument("--reference", type=Path)
    given = parser.parse_args()
    if given.study == "measured" and given.reference is None:
        parser.error("measured needs --reference")
    taken = {"rules": rules, "tiers": tiers}
    if given.study in taken:
        taken[given.study]()
    else:
        {"policies": policies, "measured": measured}[given.study](given.reference)


if __name__ == "__main__":
    main()
