"""The protocol on measured serving: readers, the fit, and what it keeps out."""

import math
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import FileFormatError
from archgym.simulators.moe.machine.columns import CHOICES
from archgym.simulators.moe.machine.engines import calibration
from evidence.moe.fitting import fit, predict, problem
from evidence.moe.measured import WORKLOAD, predictions, read_serving
from evidence.moe.serving import kendall_tau, summary_row

HEAD = (
    "model,precision,gpu,tp,dp,ep,engine,engine_version,isl,osl,random_range_ratio,conc,"
    "ttft_mean_ms,tpot_mean_ms,out_tok_s_gpu,out_tok_s_gpu_derived,suspect\n"
)
ROW = "gpt-oss-120b,mxfp4,H200,2,1,1,vllm,0.18.0,1024,1024,0.8,16,60,6.5,,1100,\n"


def folder(path: Path, *rows: str) -> Path:
    """Writes a reference with these rows."""
    (path / "measured").mkdir()
    (path / "measured" / "serving.csv").write_text(HEAD + "".join(rows), encoding="utf-8")
    return path


def test_row_becomes_a_deployment(tmp_path: Path) -> None:
    suspect = ROW.replace(",1100,\n", ",1100,too fast\n")

    rows, n_suspect = read_serving(folder(tmp_path, ROW, suspect))

    assert (len(rows), n_suspect) == (1, 1)
    assert rows[0].options["release"] == "vllm 0.18"
    assert (rows[0].clients, rows[0].design["tensor"], rows[0].is_steady) == (16, 2, True)


def test_experts_are_padded_by_vllm_before_0_13_with_8_bits(tmp_path: Path) -> None:
    old = ROW.replace("gpt-oss-120b,mxfp4", "Qwen3-235B-A22B,fp8").replace("0.18.0", "0.12.0")
    lines = (
        old, ROW.replace("0.18.0", "0.12.0"), old.replace("0.12.0", "0.13.0"),
        old.replace("H200,2", "H200,8"), old.replace("H200", "MI300X"),
    )  # fmt: skip

    rows, _ = read_serving(folder(tmp_path, *lines))

    padded = CHOICES.index("padded_rows")
    plans = []
    for row in rows:
        simulator = row.simulator()
        plans.append(simulator.prepared(row.design, simulator.workload("chat-1k")).plan)
    assert [plan.choices[padded] for plan in plans] == [128, 0, 0, 0, 0]


def test_launch_scripts_give_step_budgets_and_waits(tmp_path: Path) -> None:
    head = HEAD.replace(",suspect", ",suspect,src,date")
    lines = (
        "DeepSeek-R1,fp8,H200,8,1,1,sglang,0.5.9,1024,1024,0.8,16,60,6.5,,1100,,inferencex-csv,2026-03-01\n",
        "DeepSeek-R1,nvfp4,B200,1,8,8,trtllm,1.2,8192,1024,0.8,256,60,6.5,,1100,,inferencex-csv,2026-02-01\n",
        "DeepSeek-R1,fp8,B200,8,1,1,trtllm,1.2,1024,1024,0.8,64,60,6.5,,1100,,inferencex-csv,2026-01-29\n",
        "MiniMax-M2.5,fp8,B200,4,1,1,vllm,0.19,1024,1024,0.8,16,60,6.5,,1100,,inferencex-csv,2026-04-03\n",
        "DeepSeek-R1,fp8,H200,8,1,1,sglang,0.5.9,1024,1024,1.0,16,60,6.5,,1100,,nvidia-aic-gap,\n",
        # A batch of 64, a prompt of 4,000 and 1,500 tokens.
        "gpt-oss-120b,mxfp4,H100,4,1,1,trtllm,1.3,4000,1000,1.0,64,60,6.5,,1100,,nvidia-aic-gap,\n",
    )
    (tmp_path / "measured").mkdir()
    (tmp_path / "measured" / "serving.csv").write_text(head + "".join(lines), encoding="utf-8")

    rows, _ = read_serving(tmp_path)

    found = [row.options for row in rows]
    # Without a script, SGLang's own default on H200.
    assert [o["step_tokens"] for o in found] == ["32768", "8512", "8192", "2048", "8192", "5564"]
    assert [(o["hold_steps"], o["hold_prompts"], o["hold_tokens"]) for o in found] == [
        ("0", "0", "0"), ("60", "8", "0"), ("40", "0", "6553"), *[("0", "0", "0")] * 3,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("gpt-oss-120b", "gpt-none", "model"),
        ("H200", "H9000", "GPU"),
        ("mxfp4", "int1", "precision"),
        (",16,60", ",0.5,60", "conc"),
        (",6.5,", ",-1,", "tpot_mean_ms"),
    ],
)
def test_wrong_row_is_named_with_its_line(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(FileFormatError, match=words) as raised:
        read_serving(folder(tmp_path, ROW, ROW.replace(old, new)))
    assert "serving.csv:3" in str(raised.value) or "line 3" in str(raised.value)


def test_kendall_tau_counts_pairs() -> None:
    # Five of six pairs agree, one does not: (5 - 1) / 6.
    assert kendall_tau(np.array([1.0, 2, 3, 4]), np.array([1.0, 2, 4, 3])) == pytest.approx(4 / 6)
    assert math.isnan(kendall_tau(np.ones(3), np.arange(3.0)))


def test_summary_tells_median_tail_and_bias() -> None:
    row = summary_row("S1", "x", np.array([1.1, 0.9, 2.0]), np.ones(3), 10.0)

    assert row is not None
    assert row.ours == pytest.approx(10.0)
    assert row.origin == "predicted"
    # The geometric mean of 1.1, 0.9 and 2 is 1.2557.
    assert "bias +25.6 %" in row.what


@pytest.mark.slow
def test_fit_recovers_rows_that_a_calibration_made(reference: Path) -> None:
    rows, _ = read_serving(reference)
    asked = problem(rows[::40])
    at = np.arange(len(asked.rows))

    fitted = fit(asked, at)

    found = predict(asked, fitted)
    measured = np.array([row.tpot_ms for row in asked.rows])
    assert np.median(np.abs(found.tpot_ms / measured - 1.0)) < 0.08
    assert set(fitted.logarithms) == set(calibration().logarithms)


@pytest.mark.slow
def test_shipped_constants_meet_the_bars_on_a_sample(reference: Path) -> None:
    rows, _ = read_serving(reference)
    asked = problem(rows[::20])

    found = predict(asked, None)

    for ours, theirs, median in (
        (found.tpot_ms, [row.tpot_ms for row in asked.rows], 0.10),
        (found.output_per_s, [row.output_per_s for row in asked.rows], 0.10),
        (found.ttft_ms, [row.ttft_ms for row in asked.rows], 0.25),
    ):
        assert np.nanmedian(np.abs(ours / np.array(theirs) - 1.0)) < median


def test_rows_of_one_batch_equal_rows_alone(tmp_path: Path) -> None:
    lines = ROW, ROW.replace(",16,60", ",4,60"), ROW.replace(",16,60", ",9,60")
    rows, _ = read_serving(folder(tmp_path, *lines))

    # 4 and 16 clients are designs of one task; 9 are an option.
    for row, found in zip(rows, predictions(rows), strict=True):
        simulator = row.simulator()
        alone = simulator.evaluate(row.design, simulator.workload(WORKLOAD))
        assert found is not None
        assert (found.tpot_ms, found.ttft_ms) == (alone["tpot_mean_ms"], alone["ttft_mean_ms"])


@pytest.mark.slow
def test_each_sixth_measured_row_is_a_task_and_a_design(reference: Path) -> None:
    found = predictions(read_serving(reference, suspect=True)[0][::6])

    assert len(found) == 239
    assert all(min(each) > 0 for each in found if each is not None)


@pytest.mark.nightly
def test_every_measured_row_is_a_task_and_a_design(reference: Path) -> None:
    rows, n_suspect = read_serving(reference, suspect=True)

    found = predictions(rows)

    assert (len(rows), n_suspect) == (1430, 15)
    # Two suspect rows name GPUs that the weights do not fit.
    assert sum(each is None for each in found) == 2
    assert all(min(each) > 0 for each in found if each is not None)
