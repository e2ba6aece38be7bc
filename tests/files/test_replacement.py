"""Files that a command may replace."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from archgym.errors import InvalidArgumentError
from archgym.files.storage import MARK, figure_metadata, require_replaceable


@pytest.mark.parametrize("kind", ["svg", "png", "pdf"])
def test_own_figure_may_be_replaced(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    figure = Figure()
    figure.add_subplot().plot(range(2000), [x * x % 97 for x in range(2000)])
    figure.savefig(path, metadata=figure_metadata(path))

    require_replaceable("--plot", path)


@pytest.mark.parametrize("kind", ["svg", "png", "pdf"])
def test_figure_of_another_program_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    Figure().savefig(path)

    with pytest.raises(InvalidArgumentError, match="did not write"):
        require_replaceable("--plot", path)
    require_replaceable("--plot", path, is_forced=True)


def test_mark_at_the_end_of_a_large_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_bytes(b"x" * 300_000 + MARK.encode())

    require_replaceable("--out", path)


def test_absent_file_is_free_and_a_foreign_one_is_refused(tmp_path: Path) -> None:
    require_replaceable("--out", tmp_path / "none.html")
    (tmp_path / "mine.html").write_text("mine")
    with pytest.raises(InvalidArgumentError, match="add --force to replace it"):
        require_replaceable("--out", tmp_path / "mine.html", force="--force")
