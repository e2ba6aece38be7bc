"""`archgym moe`: listings."""

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


def test_describe_lists_the_servers_that_the_option_takes(archgym: Archgym) -> None:
    ran = archgym("describe", "moe", "--space", "edge-offload-table")

    listed = ran.out.partition("--option hardware=")[2].partition("--option")[0]
    assert "Server, by default that of the space" in listed
    assert "rtx-4090" in listed


def test_serve_takes_dense_models(archgym: Archgym) -> None:
    dense = ("moe", "serve", "--model", "llama-3.1-8b", "--hardware", "h100", "--json")

    ran = archgym(*dense, "--clients", "1", "--prompt", "16", "--output", "2")
    refused = archgym(*dense, "--spread")

    assert ran.json["n_gpus"] == 1
    assert "--spread needs a model with experts; llama-3.1-8b is dense." in refused.err
