"""Versions of simulators that a recorded task names."""

import pytest

import archgym as ag
from archgym.errors import InvalidArgumentError
from archgym.report.commands import older_version


@pytest.mark.parametrize(
    ("space", "options", "sentence"),
    [
        (
            "closed-loop",
            {},
            "Simulator moe had version 6, and 10 is installed, which returns other",
        ),
        ("closed-loop", {"measured": "0", "confidence": "0.9"}, "Simulator moe had version 6"),
        ("single-server", {"engine": "vllm"}, "Simulator moe had version 6, and 10 is installed"),
        ("closed-loop", {"engine": "ideal"}, "Simulator moe had version 6, and 10 is installed"),
        ("edge-offload", {}, ""),
    ],
)
def test_older_version_is_named_where_options_decide_the_version(
    space: str, options: dict[str, str], sentence: str
) -> None:
    recipe = {"simulator": "moe", "version": 6, "space_name": space, "fidelity": "auto"}

    older = older_version({**recipe, "options": options})

    assert older.startswith(sentence)
    assert bool(older) == bool(sentence)


def test_task_with_older_constants_of_engines_is_refused_by_version() -> None:
    recipe = ag.Task.make("moe", space="closed-loop", requests="2").to_json()

    with pytest.raises(InvalidArgumentError, match="`version` differs now: it was 6 and is 10"):
        ag.Task.from_json({**recipe, "version": 6, "digest": "0" * 64})
