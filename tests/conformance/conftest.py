"""What conformance tests share."""

from collections.abc import Iterator
from typing import Any

import pytest

from archgym.evaluation.simulator import simulator_class, simulator_names
from tests.conformance.quick import quickened


@pytest.fixture(scope="module")
def quick_simulators() -> Iterator[None]:
    """Answers of a few designs where a simulator that is found takes long."""
    with pytest.MonkeyPatch.context() as patch:
        for name in simulator_names():
            kind: Any = simulator_class(name)
            patch.setattr(kind, "simulate", quickened(kind.simulate))
        yield
