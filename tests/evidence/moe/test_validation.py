"""Rows of the validation table against the recorded results of others."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from archgym.errors import ArchGymError
from evidence.moe.caches import (
    balance_rows,
    event_rows,
    library_rows,
    locality_rows,
    toy_rows,
)
from evidence.moe.routing import readme_rows, routing_rows
from evidence.moe.row import Row

Rows = Callable[[Path, Callable[[str], None]], list[Row]]
EXACT: dict[str, tuple[Rows, int]] = {
    "V1": (event_rows, 13),
    "V2": (locality_rows, 22),
    "V3": (library_rows, 15),
    "V19": (balance_rows, 10),
    "V20": (toy_rows, 4),
}


def quiet(text: str) -> None:
    """Takes what is told of progress."""


@pytest.mark.slow
@pytest.mark.parametrize("name", EXACT)
def test_counts_of_others_are_met_exactly(reference: Path, name: str) -> None:
    make, n_rows = EXACT[name]

    rows = make(reference, quiet)

    assert len(rows) == n_rows
    assert [row for row in rows if not row.met] == []
    assert not any(row.constants for row in rows)


@pytest.mark.slow
def test_generator_fits_every_model(reference: Path) -> None:
    rows = routing_rows(reference, quiet)

    fitted = [row for row in rows if "RMSE" in row.measure]
    assert len(fitted) == 11
    assert max(row.error for row in fitted) < 2.5
    predicted = [row for row in rows if "RMSE" not in row.measure]
    assert len(predicted) == 30
    assert max(row.error for row in predicted if ": sch" in row.what) < 4.0
    assert max(row.error for row in predicted) < 6.0


def test_shape_of_read_me_is_met(reference: Path) -> None:
    rows = readme_rows(reference, quiet)

    assert [row for row in rows if not row.met] == []
    assert sum(not row.constants for row in rows) == 3


def test_row_beyond_its_tolerance_is_not_met() -> None:
    assert Row("V0", "x", 1.0, 1.1, "s", 0.1, 0.1, "s").met
    assert not Row("V0", "x", 1.0, 1.1, "s", 0.11, 0.1, "s").met
    assert not Row("V0", "x", 1.0, 1.1, "s", float("nan"), 0.1, "s").met


@pytest.mark.parametrize(
    ("make", "file", "content"),
    [
        (event_rows, "event_atomic/expected.json", b'{"mixtral_b1": 3}'),
        (event_rows, "event_atomic/mixtral_b1.npz", b"PK\x03\x04"),
        (toy_rows, "event_atomic/toy_events.csv", b"a,b\n1\n"),
        (locality_rows, "moe_lrc/expected.json", b"["),
        (library_rows, "libcachesim/expected.json", b'{"../../x": {"5": {"LRU": 0.5}}}'),
        (balance_rows, "eplb/expected.json", b'{"x": {"weight": [[1]], "args": [1, 1, 0, 1]}}'),
        (routing_rows, "published/generator_calibration.json", b"\xff"),
        (routing_rows, "published/hit_rates.csv", b"model,policy\nx,y\n"),
    ],
)
def test_damaged_reference_is_refused_in_one_line(
    reference: Path, tmp_path: Path, make: Rows, file: str, content: bytes
) -> None:
    folder = tmp_path / "moe"
    for part in ("event_atomic", "moe_lrc", "libcachesim", "eplb", "published"):
        (folder / part).mkdir(parents=True)
        for name in ("expected.json", "toy_events.csv", "generator_calibration.json"):
            if (reference / part / name).is_file():
                shutil.copy(reference / part / name, folder / part / name)
    (folder / file).write_bytes(content)

    with pytest.raises(ArchGymError) as refused:
        make(folder, quiet)

    assert "\n" not in str(refused.value)
    assert str(folder) in str(refused.value)
