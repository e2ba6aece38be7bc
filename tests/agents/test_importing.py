"""Tests of imports that leave random numbers alone."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["sklearn.tree", "sklearn.ensemble"])
def test_import_leaves_random_numbers_as_they_were(name: str) -> None:
    code = (
        "import random; from archgym.runtime.importing import import_library; "
        f"state = random.getstate(); module = import_library({name!r}); "
        "print(module.__name__, random.getstate() == state)"
    )

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert out.stdout.split() == [name, "True"]
