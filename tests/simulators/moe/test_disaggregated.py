"""Closed loops over workers for prompts and others for decoding."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from archgym.cli.app import app
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


def test_sequences_wait_where_a_decode_worker_has_no_room() -> None:
    prompt = WORKER.max_context - 10_000
    loop = serve_disaggregated(
        WORKER, WORKER, load(4, prompt, 64, waves=1), n_prefill=4, n_decode=1,
        transfer_ns_per_token=0.0,
    )  # fmt: skip

    # Steps of one sequence throughout, and first tokens that come one request after the other.
    assert np.ptp(loop.tpot_ms) < 1e-6
    gaps = np.diff(np.sort(loop.ttft_ms))
    assert gaps == pytest.approx(np.full(3, 63 * loop.tpot_ms[0]), rel=1e-3)


def test_request_beyond_the_room_of_a_decode_worker_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="longest request"):
        serve_disaggregated(
            WORKER, WORKER, load(1, WORKER.max_context, 8), n_prefill=1, n_decode=1,
            transfer_ns_per_token=1.0,
        )  # fmt: skip


def test_command_serves_workers_for_prompts_and_for_decoding() -> None:
    arguments = [
        "moe", "serve", "--model", "deepseek-r1", "--hardware", "hgx-h200", "--engine", "trt-llm",
        "--tensor", "8", "--expert", "8", "--clients", "32", "--output", "128",
        "--prefill-workers", "1", "--decode-workers", "2", "--json",
    ]  # fmt: skip
    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["n_gpus"] == 24
    assert found["output_per_s"] / found["output_per_s_and_gpu"] == pytest.approx(24)
    assert found["ttft_mean_ms"] > found["tpot_mean_ms"] > 0
