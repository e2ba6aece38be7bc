"""Experts over accelerators: placement, network and pipelining."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.simulators.cluster.kernel.fabric import contention
from archgym.simulators.moe import node
from archgym.simulators.moe.kernel.exchange import makespan
from archgym.simulators.moe.kernel.run import documents, run
from archgym.simulators.moe.kernel.state import MAX_DEGREE
from archgym.simulators.moe.machine.eplb import place
from archgym.simulators.moe.machine.plan import plan
from archgym.simulators.moe.machine.serving import Serving
from archgym.simulators.moe.workloads.routing import popularity
from tests.simulators.moe.serving_cases import MODEL, ROUTING, closed


def _span(degree: int, *times: float) -> float:
    # The function before it is compiled: Python cannot call the helper.
    plain: Callable[..., float] = cast(Any, makespan).py_func
    return float(plain(np.zeros((5, MAX_DEGREE)), degree, *times))


def test_one_chunk_takes_the_sum_of_its_steps() -> None:
    assert _span(1, 1.0, 2.0, 4.0, 2.0, 1.0) == 10.0


def test_two_chunks_overlap_as_drawn_by_hand() -> None:
    # gather 0-1 1-2; send 1-3 3-5; compute 3-7 7-11; receive 7-9 11-13; scatter 9-10 13-14.
    assert _span(2, 1.0, 2.0, 4.0, 2.0, 1.0) == 14.0


@pytest.mark.parametrize("degree", range(1, MAX_DEGREE + 1))
def test_no_schedule_beats_its_busiest_stream(degree: int) -> None:
    times = (3.0, 5.0, 7.0, 4.0, 2.0)

    span = _span(degree, *times)

    busiest = degree * max(times[0] + times[4], times[1] + times[3], times[2])
    assert busiest <= span <= degree * sum(times)


def test_spraying_is_even_and_splitting_nearly() -> None:
    hashed = contention(8, 8, "ecmp", 1)
    split = contention(8, 8, "split", 4)

    assert contention(8, 8, "spray") == 1.0
    assert split <= 1.05
    assert hashed > 1.3
    assert contention(8, 8, "ecmp", 8) < hashed


def test_unknown_paths_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="`paths` must be one of ecmp, split, spray"):
        contention(4, 8, "magic")


def _spread(placement: str, redundant: int, pipeline: int = 1) -> tuple[float, float]:
    """Balance and time of the small model over two servers of eight."""
    server = node("hgx-h800")
    serving = Serving(
        data=16, spreads_experts=True, redundant=redundant, pipeline=pipeline, max_sequences=64
    )
    requests = closed(48, 4, 8)
    ranking = popularity(ROUTING)
    ready = plan(MODEL, server, serving, requests)
    placed = place(ranking, MODEL.moe_layers, redundant, 2, 16, placement)
    found = run(
        ready, requests, ROUTING, documents(requests, ROUTING), ranking, placement=placed
    ).counters
    return found["load_sum"] / found["load_max"], found["elapsed_ns"]


def test_balanced_copies_even_the_load_out() -> None:
    in_order, _ = _spread("in-order", 0)
    balanced, _ = _spread("balanced", 16)

    assert balanced > in_order


def test_best_degree_is_no_slower_than_any_other() -> None:
    best = _spread("balanced", 0, pipeline=0)[1]

    assert all(
        best <= _spread("balanced", 0, degree)[1] * (1 + 1e-9) for degree in (1, 2, 4, 8, 16)
    )


def test_every_copy_is_placed() -> None:
    for placement in ("in-order", "balanced", "balanced-by-server"):
        copies, slots = place(popularity(ROUTING), 4, 16, 2, 16, placement)

        for layer in range(4):
            counts = np.bincount(slots[layer], minlength=16)
            assert counts.tolist() == copies[layer].tolist()
            assert counts.min() >= 1
            assert counts.sum() == 32
