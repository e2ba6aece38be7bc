"""Where pages and tables go in physical memory."""

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.simulators.translation.kernel.prepared import prepare
from archgym.simulators.translation.layout import Memory, lay_out
from tests.simulators.translation.traces import FIRST_PAGE, HUGE, SMALL, accesses, mixed, pages

REGION = 512


def numbers(n: int, seed: int = 3) -> np.ndarray:
    """Distinct pages over 4,096 regions, in the order of their first touch."""
    return np.random.default_rng(seed).permutation(4096 * REGION)[:n] + (FIRST_PAGE << 9)


@pytest.mark.parametrize("huge_share", [0.0, 0.05])
@pytest.mark.parametrize("fragmentation", [0.0, 0.5, 0.9])
def test_no_frame_is_given_out_twice(huge_share: float, fragmentation: float) -> None:
    memory = Memory(capacity_gib=2, huge_share=huge_share, fragmentation=fragmentation)

    layout = lay_out(numbers(20_000), memory, seed=1)

    assert len(np.unique(layout.touched)) == len(layout.touched)
    assert layout.touched.min() >= 0
    assert layout.touched.max() < 2 * 2**18
    assert layout.is_huge.any() == (huge_share > 0)
    blocks = np.unique(layout.frame[layout.is_huge] // REGION)
    small = layout.touched[~np.isin(layout.touched, layout.frame[layout.is_huge])]
    assert not np.isin(small // REGION, blocks).any()


def test_huge_pages_keep_places_within_their_block() -> None:
    page = numbers(3000)

    layout = lay_out(page, Memory(capacity_gib=16, huge_share=1.0), seed=0)

    assert layout.is_huge.all()
    assert np.array_equal(layout.frame % REGION, page % REGION)
    region = np.unique(np.stack([page // REGION, layout.frame // REGION]), axis=1)
    assert region.shape[1] == len(np.unique(page // REGION))
    assert (layout.table[:, 3] == -1).all()


def test_share_of_huge_regions_is_as_asked() -> None:
    page = np.arange(4000) * REGION

    layout = lay_out(page, Memory(huge_share=0.3), seed=5)

    # Within four standard deviations of a binomial draw.
    assert abs(layout.is_huge.mean() - 0.3) < 4 * np.sqrt(0.21 / 4000)


def test_regions_stay_small_once_no_block_is_left() -> None:
    page = np.arange(600) * REGION
    memory = Memory(capacity_gib=1, huge_share=1.0, fragmentation=0.5)

    layout = lay_out(page, memory, seed=0)

    assert layout.is_huge.sum() == 256
    assert layout.is_huge[:256].all()


def test_neighbours_share_a_table_and_strangers_do_not() -> None:
    layout = lay_out(np.array([0, 1, REGION, REGION << 9, REGION << 18]), SMALL, seed=0)

    table = layout.table
    assert (table[0] == table[1]).all()
    assert (table[0] == table[2]).tolist() == [True, True, True, False]
    assert (table[0] == table[3]).tolist() == [True, True, False, False]
    assert (table[0] == table[4]).tolist() == [True, False, False, False]


def test_fragmentation_tears_frames_apart() -> None:
    page = np.arange(20_000)

    whole = lay_out(page, SMALL, seed=0).frame
    broken = lay_out(page, Memory(capacity_gib=1, huge_share=0.0, fragmentation=0.9), seed=0).frame

    # Tables take a frame now and then; whole blocks leave little else between pages.
    assert (np.diff(whole) == 1).mean() > 0.99
    assert (np.diff(broken) == 1).mean() < (np.diff(whole) == 1).mean()


def test_trace_beyond_the_memory_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"`capacity_gib` must hold the pages"):
        lay_out(np.arange(300_000), SMALL, seed=0)


def test_seed_changes_what_is_huge() -> None:
    page = np.arange(200) * REGION
    memory = Memory(huge_share=0.5)

    assert (lay_out(page, memory, 1).is_huge != lay_out(page, memory, 2).is_huge).any()
    assert (lay_out(page, memory, 1).is_huge == lay_out(page, memory, 1).is_huge).all()


def test_spreading_moves_pages_apart() -> None:
    trace = mixed(5000)
    plain = prepare(trace, SMALL)

    even = prepare(trace, Memory(capacity_gib=1, huge_share=0.0, page_spread=8))
    uneven = prepare(
        trace, Memory(capacity_gib=1, huge_share=0.0, page_spread=8, spread_jitter=True)
    )

    assert even.native.n_pages == uneven.native.n_pages == plain.native.n_pages
    assert np.array_equal(even.steps.page, plain.steps.page * 8)
    assert np.array_equal(uneven.steps.page // 8, plain.steps.page)
    assert len(np.unique(uneven.steps.page % 8)) == 8


def test_counted_part_begins_with_a_step() -> None:
    ready = prepare(pages([0, 0, 0, 1, 1, 1]), SMALL)

    # The third to fifth records are no steps of their own.
    assert len(ready.steps.record) == 2
    assert ready.counted(0.3) == (9, 3, 0)
    assert ready.counted(0.9) == (0, 0, 0)


def test_virtualised_pages_are_huge_where_both_agree() -> None:
    trace = accesses((np.arange(2000) * REGION) << 12)

    ready = prepare(trace, Memory(capacity_gib=16, huge_share=0.5))

    assert ready.native.is_huge.mean() == pytest.approx(0.5, abs=0.05)
    assert ready.virtualised.is_huge.mean() == pytest.approx(0.25, abs=0.05)
    assert prepare(trace, Memory(capacity_gib=16, huge_share=1.0)).virtualised.is_huge.all()


def test_empty_trace_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="`trace` must hold at least one access"):
        prepare(pages([]), HUGE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"capacity_gib": 0}, "`capacity_gib` must lie in 1 to 64; got 0"),
        ({"huge_share": 1.5}, "`huge_share` must lie in 0 to 1; got 1.5"),
        ({"fragmentation": -1.0}, "`fragmentation` must lie in 0 to 1"),
        ({"page_spread": 3}, "`page_spread` must be a power of two"),
    ],
)
def test_memory_that_cannot_be_is_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Memory(**arguments)  # type: ignore[arg-type]  # wrong on purpose
