"""`archgym moe`: listings, drawn, recorded and analysed routing."""

from pathlib import Path

import pytest

from tests.cli.conftest import Archgym


def test_models_and_hardware_are_listed_with_sources(archgym: Archgym) -> None:
    models = archgym("moe", "models", "--json")
    hardware = archgym("moe", "hardware", "--json")

    assert models.code == hardware.code == 0
    assert {row["model"]: round(row["expert_mb"], 2) for row in models.json}[
        "qwen3-30b-a3b"
    ] == 9.44
    assert all(row["source"] for row in (*models.json, *hardware.json))
    assert "mixtral-8x22b" in archgym("moe", "models").out
    assert "dgx-h100" in archgym("moe", "hardware").out


def test_drawn_routing_is_analysed(archgym: Archgym) -> None:
    drawn = archgym(
        "moe", "generate", "--out", "a.routing.npz", "--model", "mixtral-8x7b",
        "--documents", "4", "--tokens", "80", "--layers", "3", "--json",
    )  # fmt: skip
    found = archgym(
        "moe", "analyze", "a.routing.npz", "--picture", "a.svg", "--layers", "9" * 20, "--json"
    )  # fmt: skip

    assert drawn.code == found.code == 0, drawn.err + found.err
    assert (drawn.json["tokens"], drawn.json["experts"]) == (320, 8)
    assert found.json["layers"] == [0, 1, 2]
    assert set(found.json["segments"]) == {"4", "16", "64"}
    assert Path("a.svg").read_text().startswith("<?xml")
    text = archgym("moe", "analyze", "a.routing.npz").out
    assert "Belady" in text
    assert "of a token's experts also served the previous token" in text


def test_numbers_of_a_preset_can_be_set(archgym: Archgym) -> None:
    ran = archgym(
        "moe", "generate", "--out", "a.routing.npz", "--documents", "2", "--tokens", "4",
        "--layers", "1", "--set", "n_experts=5", "--set", "top_k=2", "--set", "skew=2", "--json",
    )  # fmt: skip

    assert (ran.json["experts"], ran.json["top_k"]) == (5, 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("generate", "--out", "a.npz"), ".routing.npz"),
        (("generate", "--out", "a.routing.npz", "--model", "gpt"), "Unknown"),
        (("generate", "--out", "a.routing.npz", "--preset", "gpt"), "Unknown"),
        (("generate", "--out", "a.routing.npz", "--set", "wings=2"), "wings"),
        (("generate", "--out", "a.routing.npz", "--set", "topic=much"), "much"),
        (("generate", "--out", "a.routing.npz", "--set", "topic=nan"), "topic"),
        (("generate", "--out", "a.routing.npz", "--tokens", "9" * 20), "at most 2147483648"),
        (("generate", "--out", "a.routing.npz", "--documents", "9" * 20), "at most 2147483648"),
        (("analyze", "absent.routing.npz"), "absent.routing.npz"),
        (("analyze", "absent.routing.npz", "--picture", "a.gif"), "--picture"),
    ],
)
def test_bad_input_is_one_line(archgym: Archgym, arguments: tuple[str, ...], words: str) -> None:
    ran = archgym("moe", *arguments)

    assert ran.code == 1
    assert words in ran.err
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1


@pytest.mark.slow
def test_model_in_a_folder_is_recorded(archgym: Archgym) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.MixtralConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=8,
        num_local_experts=6,
        num_experts_per_tok=2,
    )
    transformers.MixtralForCausalLM(config).save_pretrained("tiny")

    recorded = archgym(
        "moe", "record", "tiny", "--out", "t.routing.npz", "--documents", "3", "--tokens", "20",
        "--json",
    )  # fmt: skip
    found = archgym("moe", "analyze", "t.routing.npz", "--json")

    assert recorded.code == found.code == 0, recorded.err + found.err
    assert (recorded.json["tokens"], recorded.json["layers"]) == (60, 2)
    assert found.json["tokens"] == 60


@pytest.mark.slow
def test_folder_without_a_model_is_refused_in_one_line(archgym: Archgym) -> None:
    ran = archgym("moe", "record", "nowhere", "--out", "t.routing.npz")

    assert ran.code == 1
    assert ran.err.count("\n") == 1


def test_describe_lists_the_servers_that_the_option_takes(archgym: Archgym) -> None:
    ran = archgym("describe", "moe", "--space", "edge-offload-table")

    line = next(line for line in ran.out.splitlines() if "--option hardware=" in line)
    assert "rtx-4090" in line
