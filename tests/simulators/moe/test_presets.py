"""Presets that files of models, servers and routing begin with."""

from collections.abc import Callable
from pathlib import Path

import pytest

from archgym.errors import FileFormatError
from archgym.simulators.moe.machine.hardware import node
from archgym.simulators.moe.workloads.presets import model
from archgym.simulators.moe.workloads.routing import routing_preset


@pytest.mark.parametrize(
    ("key", "read"), [("model", model), ("hardware", node), ("routing", routing_preset)]
)
def test_file_that_names_itself_as_its_preset_is_refused_with_its_line(
    tmp_path: Path, key: str, read: Callable[[str], object]
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(f"{key}:\n  preset: {path}\n")

    with pytest.raises(FileFormatError, match=r"own\.yaml:2: unknown") as refused:
        read(str(path))

    assert refused.value.line == 2
