"""New files are on this machine: a URL does not become a folder of that name."""

from pathlib import Path

import pytest

from archgym.errors import InvalidArgumentError
from archgym.files.storage import require_free


@pytest.mark.parametrize("url", ["s3://bucket/rows", "hf://datasets/me/rows.parquet", "s3:/b"])
def test_url_of_a_new_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(InvalidArgumentError, match="must be on this machine"):
        require_free(Path(url))


def test_path_with_a_colon_is_a_path(tmp_path: Path) -> None:
    require_free(tmp_path / "a:b" / "c")
