"""Archives of arrays: bad headers are refused in one line."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import FileFormatError
from archgym.files.archive import read_archive, write_archive


@pytest.mark.parametrize(
    "header",
    [b"'shape': (((,), }", b"'shape': '''',),}", b"'shape': (3,),\\}", b"'shape': (x,), }"],
)
def test_array_header_that_is_no_expression_is_refused(tmp_path: Path, header: bytes) -> None:
    write_archive(tmp_path / "a.npz", "about.json", {}, {"x": np.zeros(3)})
    with (
        zipfile.ZipFile(tmp_path / "a.npz") as good,
        zipfile.ZipFile(tmp_path / "b.npz", "w") as bad,
    ):
        for name in good.namelist():
            content = good.read(name).replace(b"'shape': (3,), }", header)
            bad.writestr(name, content)

    with pytest.raises(FileFormatError, match="a policy must be what ArchGym wrote"):
        read_archive(tmp_path / "b.npz", "about.json", "a policy", "Train it again")
