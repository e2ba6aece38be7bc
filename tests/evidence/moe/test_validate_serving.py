"""The validation table: rows that need no file, and what counts as a problem."""

from pathlib import Path

import numpy as np
import pytest

from archgym.errors import FileFormatError, InvalidArgumentError
from evidence.moe import serving_accuracy, validate
from evidence.moe.kernels import kernel_rows, tokens_by_expert
from evidence.moe.table import validation_of
from evidence.validation import Errors, Row


def test_rows_from_papers_are_met_or_explained() -> None:
    found = validate(only=("V9", "V10", "V11", "V12", "V14", "V15, V17", "V16"))

    assert found.problems == ()
    assert sum(row.met for row in found.lines) >= 34
    predicted = [row for row in found.lines if row.met and not row.constants]
    assert len(predicted) >= 20


@pytest.mark.slow
def test_rows_of_the_reference_are_met_or_explained(reference: Path) -> None:
    found = validate(reference, only=("V5", "V8", "V18"))

    assert found.problems == ()
    assert sum(row.met for row in found.lines) >= 14


def test_a_row_that_is_off_without_a_reason_is_a_problem() -> None:
    off = Row("V0", "speed", 10.0, 20.0, "tokens/s", 100.0, 5.0, "percent")
    known = Row("V0", "speed", 10.0, 20.0, "tokens/s", 100.0, 5.0, "percent", (), "why")

    assert len(validation_of((off, known)).problems) == 1


def test_errors_by_group_are_a_table() -> None:
    def row(metric: str, errors: Errors) -> Row:
        return Row("S1", f"a x b x c, {metric}", 0.0, 4.0, "%", 4.0, 10.0, "percent", errors=errors)

    found = validation_of(
        (
            row("TPOT", Errors("a x b x c", "TPOT", 12, 4.04, 12.6, -0.26)),
            row("TTFT", Errors("a x b x c", "TTFT", 9, 20.0, 50.0, 3.0)),
            Row("S1", "a on b, 12 rows: Kendall's tau", 1.0, 0.912, "tau", 0.09, 0.2, "absolute"),
        )
    ).tables

    assert [table.columns for table in found] == [
        ("group", "rows", "TPOT", "TTFT"), ("group", "tau"),
    ]  # fmt: skip
    assert found[0].rows == (("a b c", "12", "4.0/13 -0.3", "20.0/50 +3.0"),)
    assert found[1].rows == (("a on b", "0.91"),)
    assert found[0].to_json()["errors"][0] == {
        **{"group": "a x b x c", "metric": "TPOT", "n_rows": 12},
        **{"median": 4.04, "p90": 12.6, "bias": -0.26},
    }
    assert found[1].to_json()["errors"] == [{"group": "a on b", "tau": 0.912}]


def test_accuracy_without_measured_serving_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"measured/serving\.csv"):
        serving_accuracy(tmp_path)


def test_unknown_rows_and_wrong_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="V99"):
        validate(only=("V99",))
    with pytest.raises(FileFormatError, match="event_atomic"):
        validate(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b torn", b"plain text"])
def test_a_torn_table_of_kernels_is_refused(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "kernels"
    folder.mkdir()
    (folder / "moe_kernel_latency.csv.gz").write_bytes(content)

    with pytest.raises(FileFormatError, match=r"moe_kernel_latency\.csv\.gz"):
        kernel_rows(tmp_path, print)


@pytest.mark.parametrize("distribution", ["balanced", "power_law_1.01", "power_law_1.2"])
def test_every_routed_copy_has_an_expert(distribution: str) -> None:
    for n_tokens in (1, 7, 64, 1024):
        counts = tokens_by_expert(n_tokens, 128, 8, 1, distribution)

        assert counts.max() <= n_tokens
        # What an expert has more than tokens is cut off, which few tokens need.
        assert 0.5 * n_tokens * 8 <= counts.sum() <= n_tokens * 8


def test_balanced_tokens_are_dealt_to_groups() -> None:
    counts = tokens_by_expert(4, 128, 8, 8, "balanced")

    assert counts.tolist() == [1] * 4 + [0] * 12
    assert np.count_nonzero(tokens_by_expert(16, 128, 8, 8, "balanced")) == 16
