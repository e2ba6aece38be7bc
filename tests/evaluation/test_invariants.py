import numpy as np
import pytest

from archgym.errors import SimulatorError
from archgym.evaluation.simulator import require_kept


def test_first_design_that_breaks_an_invariant_is_named() -> None:
    with pytest.raises(SimulatorError, match=r"got 2\.5 instead of 2\.0 in design 1 of 3"):
        require_kept("toy", "a is b", np.array([1.0, 2.5, 9.0]), np.array([1.0, 2.0, 3.0]))


def test_one_number_is_expected_of_all_designs() -> None:
    with pytest.raises(SimulatorError, match="The toy model must keep that all are 4"):
        require_kept("toy", "all are 4", np.array([4.0, 5.0]), 4.0)


def test_rounding_is_no_difference_and_counts_may_have_none() -> None:
    require_kept("toy", "a is b", np.array([1e6 + 1e-4]), np.array([1e6]))

    with pytest.raises(SimulatorError, match="got 11 instead of 10"):
        require_kept("toy", "a is b", np.array([11]), np.array([10]), rounding=0.0)
