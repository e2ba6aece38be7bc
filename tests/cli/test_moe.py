"""`archgym moe`: listings and drawn routing."""

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


def test_routing_is_drawn_into_a_file(archgym: Archgym) -> None:
    drawn = archgym(
        "moe", "generate", "--out", "a.routing.npz", "--model", "mixtral-8x7b",
        "--documents", "4", "--tokens", "80", "--layers", "3", "--json",
    )  # fmt: skip

    assert drawn.code == 0, drawn.err
    assert (drawn.json["tokens"], drawn.json["experts"]) == (320, 8)
    assert Path("a.routing.npz").is_file()


def test_numbers_of_a_preset_come_from_a_file(archgym: Archgym) -> None:
    Path("mine.yaml").write_text("routing: {preset: olmoe, n_experts: 5, top_k: 2, skew: 2}\n")

    ran = archgym(
        "moe", "generate", "--out", "a.routing.npz", "--documents", "2", "--tokens", "4",
        "--layers", "1", "--preset", "mine.yaml", "--json",
    )  # fmt: skip

    assert (ran.json["experts"], ran.json["top_k"]) == (5, 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("generate", "--out", "a.npz"), ".routing.npz"),
        (("generate", "--out", "a.routing.npz", "--model", "gpt"), "Unknown"),
        (("generate", "--out", "a.routing.npz", "--preset", "gpt"), "Unknown"),
        (("generate", "--out", "a.routing.npz", "--tokens", "9" * 20), "at most 2147483648"),
        (("generate", "--out", "a.routing.npz", "--documents", "9" * 20), "at most 2147483648"),
    ],
)
def test_bad_input_is_one_line(archgym: Archgym, arguments: tuple[str, ...], words: str) -> None:
    ran = archgym("moe", *arguments)

    assert ran.code == 1
    assert words in ran.err
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1


def test_describe_lists_the_servers_that_the_option_takes(archgym: Archgym) -> None:
    ran = archgym("describe", "moe", "--space", "edge-offload-table")

    line = next(line for line in ran.out.splitlines() if "--option hardware=" in line)
    assert "rtx-4090" in line
