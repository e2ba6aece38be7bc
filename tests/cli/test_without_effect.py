"""Options that would have no effect are refused, and empty paths are no paths."""

from pathlib import Path

import pytest

from tests.cli.conftest import Archgym


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dataset", "build", "study", "--out", "d", "--test", "0.3"], "need `--split BY`"),
        (["dataset", "merge", "study", "--out", "d", "--hold-out", "x"], "need `--split BY`"),
        (["kv", "analyse", "chat", "-o", "gpu_watts=3"], "'gpu_watts' makes no difference"),
        (["kv", "analyse", "chat", "-o", "block_tokens=16"], "Use --block."),
        (["codesign", "cpu+dram", "--seconds", "5"], "`--seconds` needs `--prove`"),
        (["search", "plugin", "--recheck", "0.5"], "must be left out without `cache`"),
        (["search", "plugin", "--set", "banks=1..4"], "must be held at one value"),
    ],
)
def test_option_without_effect_is_refused(
    archgym: Archgym, study: Path, words: list[str], message: str
) -> None:
    ran = archgym(*words)

    assert ran.code != 0
    assert message in ran.err
    assert not Path("d").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["search", "plugin", "--cache", ""],
        ["export", "study", "--as", "json", "--out", ""],
        ["simplify", "study", "--out", ""],
        ["codesign", "cpu+dram", "--out", ""],
    ],
)
def test_empty_text_is_no_path(archgym: Archgym, study: Path, words: list[str]) -> None:
    ran = archgym(*words)

    # Before, it was the current folder.
    assert ran.code == 2
    assert "takes no empty text" in ran.err
