"""Architectures: weights and bytes against published totals, and the user's own."""

from pathlib import Path

import pytest

from archgym.errors import ArchGymError, FileFormatError, UnknownNameError
from archgym.simulators.moe.workloads.presets import model, model_names

# Total and active parameters [1e9], keys and values of a token [bytes]: model cards on Hugging
# Face, and for V3 its technical report, table 1.
PUBLISHED = {
    "mixtral-8x7b": (46.70, 12.88, 131_072),
    "phi-3.5-moe": (41.87, 6.64, 131_072),
    "qwen1.5-moe-a2.7b": (14.32, 2.69, 196_608),
    "qwen2-57b-a14b": (57.41, 14.25, 57_344),
    "qwen3-30b-a3b": (30.53, 3.35, 98_304),
    "olmoe-1b-7b": (6.92, 1.28, 131_072),
    "deepseek-v2-lite": (15.71, 2.66, 31_104),
    "deepseekmoe-16b": (16.38, 2.83, 229_376),
    "deepseek-v3": (671.03, 37.55, 70_272),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_weights_add_up_to_the_published_totals(name: str) -> None:
    total, active, kv_bytes = PUBLISHED[name]

    found = model(name)

    assert round(found.total_parameters / 1e9, 2) == total
    assert round(found.active_parameters / 1e9, 2) == active
    assert found.kv_bytes_per_token() == kv_bytes


def test_every_preset_is_a_model_with_a_source() -> None:
    assert len(model_names()) == 34
    for name in model_names():
        assert model(name).source


def test_fewer_bits_are_fewer_bytes() -> None:
    assert model("mixtral-8x7b").expert_bytes() == 352_321_536
    assert model("mixtral-8x7b").expert_bytes(2) == 44_040_192


def test_unknown_model_answers_with_near_names() -> None:
    with pytest.raises(UnknownNameError, match="mixtral-8x7b"):
        model("mixtral-8x7")


def test_own_model_is_read_and_takes_the_rest_from_a_preset(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("model:\n  preset: olmoe-1b-7b\n  experts: 32\n  top_k: 4\n")

    found = model(str(path))

    assert (found.name, found.experts, found.top_k, found.layers) == ("mine", 32, 4, 16)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("other: 1\n", 1, "model"),
        ("model:\n  preset: mixtral-8x7b\n  experts: -1\n", 3, "experts"),
        ("model:\n  preset: mixtral-8x7b\n  top_k: 9\n", 1, "top_k"),
        ("model:\n  preset: nothing\n", 2, "model"),
        ("model:\n  preset: olmoe-1b-7b\n  routing: nosuch\n", 3, "routing preset 'nosuch'"),
        ("model:\n  layers: 3\n", 1, "moe_layers"),
        ("model:\n  preset: mixtral-8x7b\n  latent: {kv_rank: 1}\n", 3, "query_rank"),
        ("model: [1]\n", 1, "mapping"),
        ("model:\n  preset: mixtral-8x7b\n  wings: 2\n", 3, "wings"),
    ],
)
def test_bad_file_is_refused_with_its_line(
    tmp_path: Path, text: str, line: int, words: str
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)

    with pytest.raises(FileFormatError, match=words) as refused:
        model(str(path))

    assert refused.value.line == line
    assert "\n" not in str(refused.value)


def test_absent_file_is_refused() -> None:
    with pytest.raises(ArchGymError, match=r"nowhere\.yaml cannot be read"):
        model("nowhere.yaml")
