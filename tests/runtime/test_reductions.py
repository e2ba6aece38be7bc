"""Reports of what is cut: once on stderr, with numbers, and as notes of whoever collects them."""

import logging

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import Objective, Term
from archgym.runtime import reductions
from archgym.runtime.reductions import collected_reductions, report_loss, report_reduction


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reductions, "_SEEN", set())


def test_reduction_is_reported_once_with_its_numbers(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "archgym.reductions"):
        for _ in range(2):
            report_reduction("rows", 4000, 20_000, "they are a random sample")

    assert caplog.messages == ["rows: 4,000 of 20,000 are used; they are a random sample."]


def test_nothing_is_reported_if_all_is_used(caplog: pytest.LogCaptureFixture) -> None:
    report_reduction("rows", 20, 20, "never said")

    assert caplog.messages == []


def test_collected_notes_hold_what_was_said_before() -> None:
    report_loss("One line was cut.")

    with collected_reductions() as outer, collected_reductions() as inner:
        report_loss("One line was cut.")
        report_loss("One line was cut.")
    report_loss("Another.")

    assert outer == inner == ["One line was cut."]


def test_clipped_reward_is_reported() -> None:
    spec = MetricSpec("size", "1", "minimise", 1e-12, "Size.")
    objective = Objective("small", (Term("size", "minimise"),))
    values = np.array([[1.0], [1e-12]])

    with collected_reductions() as notes:
        reward = objective.reward(values, np.array([1e6]), [spec], np.zeros(2, dtype=np.int16))

    assert reward.tolist() == [pytest.approx(np.log(1e6)), 20.0]
    assert len(notes) == 1
    assert "`size` beyond 20" in notes[0]


def test_long_error_in_a_journal_says_how_much_is_cut() -> None:
    from archgym.studies.journal import _shortened

    assert _shortened("x" * 8000) == "x" * 8000
    assert _shortened("x" * 8123).endswith("x … (123 more letters)")


def test_loops_of_a_level_are_not_cut() -> None:
    from archgym.simulators.accelerator.machine.mapping import loops_from_text

    assert len(loops_from_text("P2 " * 64, {"P": 2})) == 64
    with pytest.raises(InvalidArgumentError, match="at most 64 loops; got 65"):
        loops_from_text("P2 " * 65, {"P": 2})


def test_lines_that_are_no_accesses_are_counted() -> None:
    from archgym.traces.recording import LackeyParser

    parser = LackeyParser(0, 100)
    parser.parse(b"I  04000000,3\n L 1ffeffe7e,8\n==12== a note of valgrind\n S 10,70000\n")

    with collected_reductions() as notes:
        parser.report_losses()

    assert len(notes) == 2
    assert notes[0].startswith("valgrind wrote 1 lines that are not accesses, and 0 bytes")
    assert notes[1].startswith("1 records have more than 65,535 bytes")


def test_fetches_of_lines_are_recorded_if_asked() -> None:
    from archgym.traces.memory_trace import AccessKind
    from archgym.traces.recording import LackeyParser

    text = b"".join(b"I  %08x,4\n" % (0x400000 + 4 * n) for n in range(64))
    pages, lines = LackeyParser(0, 100).parse(text), LackeyParser(0, 100, 64).parse(text)

    assert pages.kind.tolist() == [AccessKind.FETCH]
    assert lines.address.tolist() == [0x400000, 0x400040, 0x400080, 0x4000C0]
