"""Built-in architectures, and those in a user's file."""

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

from archgym.errors import unknown_name
from archgym.simulators.accelerator.architecture import Architecture

__all__ = ["ARCHITECTURES", "load_architecture"]

ARCHITECTURES: Final = ("eyeriss-like", "simba-like", "ws-systolic-16", "tpu-like", "gemmini-like")
"""Built-in architectures, each a file in `data/architectures`."""


@cache
def _shipped(name: str) -> Architecture:
    from archgym.simulators.accelerator.files import read_architecture

    folder = resources.files("archgym.simulators.accelerator").joinpath("data/architectures")
    with resources.as_file(folder.joinpath(f"{name}.yaml")) as path:
        return read_architecture(path)


def load_architecture(name: str | Path) -> Architecture:
    """Return the built-in architecture with this name, or the one in the file at this path.

    Raises:
      UnknownNameError: The name is neither.
      FileFormatError: The file is not an architecture.
    """
    text = str(name)
    if text in ARCHITECTURES:
        return _shipped(text)
    is_path = isinstance(name, Path) or text.endswith((".yaml", ".yml", ".json"))
    if is_path or (text and Path(text).exists()):
        from archgym.simulators.accelerator.files import read_architecture

        return read_architecture(Path(name))
    raise unknown_name("architecture", text, ARCHITECTURES)
