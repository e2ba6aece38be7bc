"""Runs of the scheduler: with steps of a fixed length, and with the serving clock."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from archgym.simulators.kv.kernel import pool, serving
from archgym.simulators.kv.kernel.policies import POLICIES
from archgym.simulators.kv.kernel.run import checksum, counts_of, optimum, traits_of
from archgym.simulators.kv.kernel.store import N_TIERS, Store, new_store
from archgym.simulators.kv.workloads.arrays import Blocks, Dependencies
from archgym.simulators.kv.workloads.stream import Stream, StreamBlocks
from archgym.simulators.moe.kernel.state import N_CONTENTS, new_state
from archgym.simulators.moe.kernel.step_time import StepCosts

_LOGGED: Final = 4_000_000  # chosen: entries of the log of steps, for small runs.


def _order(stream: Stream) -> serving.Order:
    """Return the order of requests in sessions."""
    zeros = np.zeros(len(stream) + 1, np.int64)
    needs = stream.dependencies or Dependencies(zeros, zeros[:0], zeros[:0], zeros[:-1])
    sessions = np.unique(stream.session, return_inverse=True)[1].astype(np.int32)
    roots = np.flatnonzero(needs.n_before == 0)
    roots = roots[np.argsort(sessions[roots], kind="stable")]
    n_sessions = int(sessions.max()) + 1
    starts = np.full(n_sessions, 2**62)
    np.minimum.at(starts, sessions, stream.arrivals.time)
    first = np.searchsorted(sessions[roots], np.arange(n_sessions + 1))
    return serving.Order(needs, sessions, first, roots, stream.arrivals.time - starts[sessions])


def _fleet(blocks: Blocks, n_workers: int, max_seqs: int, order: serving.Order) -> Any:
    n = len(blocks.need)
    workers = np.zeros(n_workers, serving.WORKER).view(np.recarray)
    requests = np.zeros(n, serving.REQUEST).view(np.recarray)
    workers.busy_until = 1e300
    requests.n_before = order.needs.n_before
    # A preempted request may hold more blocks at its end than at its admission, never above `need`.
    requests.held_at = np.cumsum(blocks.need + 1) - blocks.need - 1
    for name in ("worker", "hits", "admitted", "first", "last"):
        requests[name] = -1
    slots, shorts = np.zeros((2, n_workers, max_seqs), np.int64), np.full((2, n), -1, np.int32)
    return serving.Fleet(
        workers, requests, slots[0], slots[1], np.zeros((n_workers, n + 1), np.int64),
        np.zeros((n_workers, N_CONTENTS)), np.zeros(int((blocks.need + 1).sum()), np.int32),
        shorts[0], shorts[1], np.zeros(n, np.int64), np.bincount(order.session),
    )  # fmt: skip


def serve(
    made: StreamBlocks,
    capacity: int,
    policy: str,
    choices: Mapping[int, int],
    costs: StepCosts,
    *,
    n_workers: int = 1,
    store: Store | None = None,
    hand_ms: float = 0.0,
    log: Any = None,
) -> serving.Service:
    """Run a stream, and return its state at the end.

    Args:
      made: Requests as blocks.
      capacity: Blocks of each worker.
      policy: One of `POLICIES`.
      choices: Values of `Service.chosen` by their number, such as `serving.BUDGET`.
      costs: Serving clock.
      n_workers: Workers.
      store: Tiers below; none by default.
      hand_ms: Time that a block takes from a prefill worker to another [ms].
      log: (n_entries, 3), filled with steps.
    """
    code = POLICIES.index(policy)
    blocks = made.blocks
    if code == pool.BELADY:
        blocks, _ = made.with_next_uses(capacity)
    chosen = np.zeros(serving.N_CHOSEN, np.int64)
    for number, value in choices.items():
        chosen[number] = value
    chosen[serving.BLOCK] = made.block
    none = np.zeros(N_TIERS)
    tiers = store or new_store(none.astype(np.int64), none, none, made.n_identities)
    one = pool.new_pool(capacity, made.n_identities, code, capacity if tiers.capacity.any() else 0)
    fields: Any = [np.stack([field] * n_workers) for field in one]
    order = _order(made.stream)
    run = serving.Service(
        _fleet(blocks, n_workers, int(chosen[serving.MAX_SEQS]), order),
        pool.Pool(*fields), tiers, blocks, traits_of(made), made.stream.arrivals, order, chosen,
        costs, np.zeros(N_CONTENTS), hand_ms, np.zeros(serving.N_TOTALS, np.int64),
        np.zeros(serving.N_COUNTERS, np.int64),
        np.zeros((0, 3), np.int64) if log is None else log,
    )  # fmt: skip
    serving.serve(run)
    return run


def run_steps(
    made: StreamBlocks,
    capacity: int,
    policy: str,
    *,
    step_ms: int,
    max_seqs: int,
    token_budget: int,
    reserve_prompt: bool,
    log: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return counts of vLLM's scheduler with steps of a fixed length and nominal arrivals.

    Args:
      made: Requests as blocks.
      capacity: Blocks of the pool.
      policy: One of `POLICIES`.
      step_ms: Length of a step [ms].
      max_seqs: Requests that run at a time.
      token_budget: Tokens of a step.
      reserve_prompt: True to admit a request only if its whole prompt fits.
      log: Filled with `entries`: step, request and tokens, -1 for a preemption.
    """
    choices = {
        serving.STEP_MS: step_ms,
        serving.MAX_SEQS: max_seqs,
        serving.BUDGET: token_budget,
        serving.RESERVES: reserve_prompt,
    }
    entries = None if log is None else np.zeros((_LOGGED, 3), np.int64)
    # Steps of a fixed length do not look at the clock.
    no_clock = StepCosts(
        np.zeros(1), np.zeros(1, np.int64), np.zeros((1, 1)), new_state(1, 1, 1, 1), np.zeros(1),
        0.0, 0,
    )  # fmt: skip
    run = serve(made, capacity, policy, choices, no_clock, log=entries)
    requests, totals = run.fleet.requests, run.totals
    if log is not None and entries is not None:
        entries = entries[: totals[serving.LOGGED_STEPS]]
        entries[:, 0] //= step_ms
        log["entries"] = entries
    admitted = requests.hits >= 0
    first = np.where(admitted, requests.admitted / step_ms, -1).astype(np.int64)
    # A step ends where the next one begins.
    last = np.where(admitted, requests.last / step_ms - 1, -1).astype(np.int64)
    return counts_of(made, capacity, requests.hits) | {
        "evictions": int(run.pools.state[0, pool.EVICTIONS]),
        "steps": int(totals[serving.STEPS]),
        "scheduled_tokens": int(totals[serving.SCHEDULED]),
        "preemptions": int(totals[serving.PREEMPTIONS]),
        "peak_running": int(totals[serving.PEAK]),
        "last_step": int(last.max(initial=-1)),
        "first_checksum": checksum(first),
        "finish_checksum": checksum(last),
        # No policy finds more than a cache without an end.
        "optimum_blocks": optimum(made, 2**40, capacity, False),
    }
