"""Bars of left-out groups: rows, errors and intervals."""

from pathlib import Path

import numpy as np
import pytest

from evidence.moe.bars import coverage, read_more, summary

_COLUMNS = (
    "model,precision,gpu,gpus,tp,dp,ep,engine,engine_version,spec_decoding,isl,osl,conc,src,"
    "ttft_mean_ms,ttft_median_ms,tpot_mean_ms,out_tok_s_gpu,out_tok_s_gpu_derived,suspect,requests,"
    "in_mean,out_mean,ttft_note"
)
_ROW = (
    "gpt-oss-120b,mxfp4,{gpu},8,8,1,1,sglang,{release},none,,,1,sgl-cookbook,30,28,2,9,9,,10,300,"
    "200,{note}"
)


def _reference(folder: Path) -> Path:
    rows = [
        _ROW.format(gpu="B200", release="0.5.6", note=""),
        _ROW.format(gpu="B200", release="0.5.8", note=""),
        _ROW.format(gpu="MI300X", release="0.5.6", note=""),
        _ROW.format(gpu="B200", release="0.5.9", note="may lie in the prefix cache"),
    ]
    (folder / "further").mkdir()
    (folder / "further" / "serving_more.csv").write_text("\n".join([_COLUMNS, *rows]) + "\n")
    return folder


def test_sealed_groups_are_apart_from_all_others(tmp_path: Path) -> None:
    reference = _reference(tmp_path)

    assert [row.options["release"] for row in read_more(reference, sealed=False)] == [
        "sglang 0.5.6", "sglang 0.5.9",
    ]  # fmt: skip
    assert len(read_more(reference, sealed=True)) == 2


def test_prompts_that_may_be_cached_have_no_time_to_judge(tmp_path: Path) -> None:
    rows = read_more(_reference(tmp_path), sealed=False)

    assert [row.ttft_ms for row in rows] == pytest.approx([30.0, float("nan")], nan_ok=True)
    assert "poll_steps" not in rows[0].options


def test_coverage_takes_each_interval_from_the_other_folds() -> None:
    # Nine in ten of the first fold's errors lie within the second's; none of the second's own
    # width would hold all.
    spread = np.linspace(-1.0, 1.0, 100)
    errors = np.concatenate((spread, 10.0 * spread))
    fold = np.repeat([0, 1], 100)

    # All of the narrow fold, and 9 or 10 of the wide one's.
    assert coverage(errors, fold) == pytest.approx(54.0, abs=2.0)


def test_errors_are_summed_up_without_rows_that_nobody_measured() -> None:
    found = summary(np.log(np.array([1.1, 0.9, np.nan, 1.5])))

    assert found["rows"] == 3
    assert found["median"] == pytest.approx(10.0)
    assert found["bias"] == pytest.approx(100.0 * ((1.1 * 0.9 * 1.5) ** (1 / 3) - 1.0))
