"""The model of docs/own-simulator.md, copied into a package of simulators, passes every check."""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from archgym.evaluation.options import make_simulator
from archgym.evaluation.simulator import Simulator
from archgym.testing import check_simulator

PAGE = Path(__file__).resolve().parents[2] / "docs" / "own-simulator.md"
PACKAGE = "simulators_of_a_page"


@pytest.fixture
def adder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The class of the page in `adder/simulator.py`, as a folder of simulators has it."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (model,) = [b.partition("\ntask = ")[0] for b in blocks if "class AdderSimulator" in b]
    folder = tmp_path / PACKAGE / "adder"
    folder.mkdir(parents=True)
    (tmp_path / PACKAGE / "__init__.py").touch()
    (folder / "simulator.py").write_text(model)
    (folder / "__init__.py").write_text(
        f'"""The page\'s adder."""\n\nfrom {PACKAGE}.adder.simulator import AdderSimulator\n\n'
        '__all__ = ["AdderSimulator"]\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module(f"{PACKAGE}.adder")
    for name in [name for name in sys.modules if name.startswith(PACKAGE)]:
        del sys.modules[name]


def test_simulator_of_the_page_passes_the_suite(adder: ModuleType) -> None:
    check_simulator(adder.AdderSimulator())


def test_simulator_of_the_page_is_made_as_a_registered_one(adder: ModuleType) -> None:
    kind: type[Simulator] = adder.AdderSimulator

    simulator = make_simulator(kind, None, None, {})

    assert simulator.name == "adder"
    assert simulator.space.name == kind.spec.space_names[0] == "default"
    assert simulator.fidelity == kind.spec.fidelity_names[0] == "standard"
    assert kind.spec.table_space is None
