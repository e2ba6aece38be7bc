"""Closed loops over workers for prompts and others for decoding."""

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.simulators.moe.client import step_ns
from archgym.simulators.moe.closed_loop import load
from archgym.simulators.moe.columns import COSTS
from archgym.simulators.moe.deployment import Deployment
from archgym.simulators.moe.disaggregated import serve_disaggregated
from archgym.simulators.moe.hardware import gpu
from archgym.simulators.moe.presets import model

WORKER = Deployment(model("deepseek-r1"), gpu("h200"), "trt-llm", "fp8", tensor=8, expert=8)


def step_ms(contents: tuple[float, ...]) -> float:
    """Returns the time of one step of the worker [ms]."""
    times = np.zeros(1)
    step_ns(WORKER.costs()[None], WORKER.shape()[None], np.array([contents]), times)
    return float(times[0]) / 1e6


def test_one_request_waits_for_its_prompt_its_transfer_and_delivery() -> None:
    requests = load(1, 1024, 128, waves=3)

    loop = serve_disaggregated(
        WORKER, WORKER, requests, n_prefill=1, n_decode=1, transfer_ns_per_token=1_000.0
    )

    costs = WORKER.costs()
    prompt = step_ms((0, 0, 1024, 1024 * 1025 / 2, 1024, 1))
    # Mean context of 127 steps: the prompt, its first token, and half of the steps.
    decode = step_ms((1, 1025 + 127 / 2, 0, 0, 0, 1))
    handled = (costs[COSTS.index("first_ns")] + 1_000.0 * 1024) / 1e6
    waited = costs[COSTS.index("wait_steps")] * decode
    assert loop.ttft_ms == pytest.approx(np.full(3, handled + prompt + waited), rel=1e-9)
    assert loop.tpot_ms == pytest.approx(np.full(3, decode), rel=1e-9)


def test_more_workers_for_prompts_shorten_the_queue_and_fill_decode_workers() -> None:
    requests = load(64, 8192, 256, shortest=0.8, waves=5)

    one, four = (
        serve_disaggregated(
            WORKER, WORKER, requests, n_prefill=n, n_decode=1, transfer_ns_per_token=100.0
        )
        for n in (1, 4)
    )

    assert four.ttft_ms.mean() < 0.5 * one.ttft_ms.mean()
    assert four.tpot_ms.mean() > one.tpot_ms.mean()


def test_decode_workers_share_sequences() -> None:
    requests = load(64, 256, 256, shortest=0.8, waves=4)

    one, eight = (
        serve_disaggregated(
            WORKER, WORKER, requests, n_prefill=2, n_decode=n, transfer_ns_per_token=100.0
        )
        for n in (1, 8)
    )

    # With 8 of 64 sequences each, a step is one of 8 sequences or fewer.
    most = step_ms((8, 8 * 512, 0, 0, 0, 8))
    assert eight.tpot_ms.mean() < 1.02 * most < one.tpot_ms.mean()


def test_a_side_without_workers_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="n_prefill"):
        serve_disaggregated(
            WORKER, WORKER, load(1, 8, 8), n_prefill=0, n_decode=1, transfer_ns_per_token=1.0
        )
