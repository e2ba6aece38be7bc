import numpy as np

from archgym.datasets.columns import DesignIds, IdSet, shares
from archgym.spaces.parameter import Categorical, Integer, Permutation
from archgym.spaces.space import DesignSpace
from tests.toys import SPACE


def space(*parameters: Categorical | Integer | Permutation) -> DesignSpace:
    return DesignSpace("space", parameters)


def test_id_of_a_design_never_changes() -> None:
    # Parts of datasets that are split by design follow from it.
    ids = DesignIds("toy", SPACE).of(np.array([[0, 0, 0, 0, 0], [2, 4, 1, 3, 1]]))

    assert [f"{int(number):016x}" for number in ids] == ["04b7f2f7a4ae1e86", "158ae7bf6d0508c9"]


def test_designs_that_differ_have_ids_that_differ() -> None:
    designs = np.concatenate(list(SPACE.enumerate(canonical=True)))

    ids = DesignIds("toy", SPACE).of(designs)

    assert len(np.unique(ids)) == len(designs)


def test_id_depends_on_values_and_not_on_their_order_or_documentation() -> None:
    one = space(
        Categorical(name="mode", choices=("a", "b"), doc="One."), Integer(name="n", low=0, high=3)
    )
    other = space(Integer(name="n", low=2, high=9), Categorical(name="mode", choices=("b", "c")))

    ids = DesignIds("toy", one).of(np.array([[1, 3]]))
    same = DesignIds("toy", other).of(np.array([[1, 0]]))
    others = DesignIds("another", one).of(np.array([[1, 3]]))

    assert ids == same != others


def test_ids_of_values_that_are_never_listed() -> None:
    orders = space(Permutation(name="order", items=tuple("abcdefghij")))

    ids = DesignIds("toy", orders).of(np.array([[0], [3_628_799], [0]]))

    assert ids[0] == ids[2] != ids[1]


def test_shares_are_even_and_differ_by_seed() -> None:
    ids = np.arange(20_000, dtype=np.uint64)

    one, other = shares(ids, 0), shares(ids, 1)

    assert 0 <= one.min() < one.max() < 1
    np.testing.assert_allclose(np.histogram(one, 10, (0, 1))[0], 2000, rtol=0.1)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.03


def test_set_tells_what_was_in_it() -> None:
    rng = np.random.default_rng(0)
    known = IdSet()
    seen: set[int] = set()
    for _ in range(30):
        ids = rng.integers(0, 2000, size=rng.integers(1, 200)).astype(np.uint64)
        expected = []
        for number in ids.tolist():
            expected.append(number in seen)
            seen.add(number)

        assert known.add(ids).tolist() == expected

    assert len(known) == len(seen)
    other = IdSet()
    other.add(np.arange(100, dtype=np.uint64))
    assert other.common(known) == len(seen & set(range(100)))
