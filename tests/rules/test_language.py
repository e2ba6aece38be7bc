"""The language of rules: what it allows, and attempts to leave it."""

from pathlib import Path

import pytest

from archgym.errors import ArchGymError, FileFormatError
from archgym.rules.language import bounds_of, check_rule, read_rule, tuned_values
from archgym.simulators.moe.rules.domain import EXPERT_CACHE
from tests.rules.escapes import EXPRESSIONS, HEAD, STATEMENTS, WHOLE, returning, scored


def test_there_are_over_a_hundred_and_fifty_escapes() -> None:
    assert len(EXPRESSIONS) + len(STATEMENTS) + len(WHOLE) > 150


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_expression_outside_the_language_is_refused(text: str) -> None:
    with pytest.raises(FileFormatError, match=EXPRESSIONS[text]) as refusal:
        check_rule(returning(text))

    assert refusal.value.line == 4
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("text", STATEMENTS)
def test_statement_outside_the_language_is_refused(text: str) -> None:
    with pytest.raises(FileFormatError, match=STATEMENTS[text]) as refusal:
        check_rule(scored(text, "return 1"))

    assert (refusal.value.line or 0) >= 4


@pytest.mark.parametrize("text", WHOLE)
def test_file_outside_the_language_is_refused(text: str) -> None:
    with pytest.raises(ArchGymError, match=WHOLE[text]) as refusal:
        check_rule(text)

    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 500


def test_loops_that_multiply_are_refused() -> None:
    source = check_rule(
        scored(
            "x = 0",
            "for a in range(1000):",
            "    for b in range(1000):",
            "        x += 1",
            "return x",
        )
    )

    with pytest.raises(FileFormatError, match="must take 65536 operations or fewer"):
        bounds_of(source, EXPERT_CACHE.example)


@pytest.mark.parametrize("name", EXPERT_CACHE.templates)
def test_templates_are_rules(name: str) -> None:
    source = check_rule(EXPERT_CACHE.templates[name])

    assert source.doc
    assert bounds_of(source, EXPERT_CACHE.example)["score"] >= 1


def test_state_is_counted_in_bits() -> None:
    source = check_rule(
        HEAD + "x = table(3, bits=5)\ny = per_layer(bits=2)\n" + returning("1")[len(HEAD) :]
    )

    # 1024 blocks of 32 bits, 3 of 5, 16 layers of 2; `time` is not read.
    assert source.state_bits(EXPERT_CACHE.example) == 1024 * 32 + 15 + 32


def test_reading_time_costs_a_counter() -> None:
    without = check_rule(returning("last[block]")).state_bits(EXPERT_CACHE.example)

    assert check_rule(returning("time")).state_bits(EXPERT_CACHE.example) == without + 32


def test_operations_are_those_of_the_longest_path() -> None:
    source = check_rule(
        scored(
            "x = last[block] + 1",
            "if x > 3:",
            "    x = x * 2",
            "else:",
            "    for k in range(4):",
            "        x += last[k]",
            "return x",
        )
    )

    # 2 for the first line, 1 comparison, 4 rounds of 1 for the loop, 1 addition and 1 read.
    assert source.operations(EXPERT_CACHE.example)["score"] == 2 + 1 + 4 * 3


def test_tuned_values_lie_in_their_ranges() -> None:
    source = check_rule(EXPERT_CACHE.templates["decay"])

    assert tuned_values(source, {"GAIN": "7"}) == {"GAIN": 7}
    with pytest.raises(ArchGymError, match="from 1 to 255; got '256'"):
        tuned_values(source, {"GAIN": "256"})
    with pytest.raises(ArchGymError, match="Unknown tunable constant"):
        tuned_values(source, {"PERIODS": "7"})


def test_digest_changes_with_every_byte_of_the_source() -> None:
    text = EXPERT_CACHE.templates["lru"]

    assert check_rule(text).digest != check_rule(text + "# same\n").digest


def test_file_of_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(b"\xff\xfe")

    with pytest.raises(FileFormatError, match="must be UTF-8"):
        read_rule(path)
