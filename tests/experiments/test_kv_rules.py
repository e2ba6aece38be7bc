"""Programs of the study of rules: each is a rule that the language accepts."""

import numpy as np

from archgym.rules.language import check_rule
from experiments.kv_rules import FEATURES, _mutated, _random, rule_of, size, text_of, used


def test_every_mutated_program_is_a_rule_with_the_state_that_it_uses() -> None:
    rng = np.random.default_rng(0)
    allowed = range(len(FEATURES))
    pool = [_random(allowed, rng) for _ in range(10)]
    for _ in range(60):
        first, second = (pool[int(i)] for i in rng.integers(len(pool), size=2))
        child = _mutated(first, second, allowed, rng)
        pool.append(child)
        source = check_rule(rule_of(child, "A rule."))

        state = {"uses", "between", "found", "turns", "gap", "pause", "ended"}
        needed = {FEATURES[i] for i in used(child)} & state
        arrays = {array.name for array in source.arrays}
        assert {"over" if name == "ended" else name for name in needed} <= arrays
        assert not needed or arrays
        assert size(child) >= 1


def test_program_is_written_as_it_is_calculated() -> None:
    program = (
        "if",
        ("f", 8),
        ("c", 0.5),
        ("/", ("f", 2), ("c", 4.0)),
        ("min", ("c", 1.0), ("f", 0)),
    )

    text = text_of(program)

    values = {"over": [0.0], "uses": [3.0], "session": 0, "block": 0, "depth": 10}
    assert eval(text, {"max": max, "min": min, "abs": abs}, values) == 2.5
    assert eval(text, {"max": max, "min": min, "abs": abs}, {**values, "over": [1.0]}) == 1.0
