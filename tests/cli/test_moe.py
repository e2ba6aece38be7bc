"""`archgym moe`: listings."""

from pathlib import Path

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


def test_serve_gives_what_evaluate_gives(archgym: Archgym) -> None:
    options = {
        "model": "llama-3.1-8b", "hardware": "h100", "precision": "int4", "clients": "2",
        "lengths": "64+8", "shortest": "0.8",
    }  # fmt: skip
    told = [f"--option={name}={value}" for name, value in options.items()]
    short = ("--precision", "int4", "--clients", "2", "--prompt", "64", "--output", "8")

    one = archgym("moe", "serve", "--model", "llama-3.1-8b", "--hardware", "h100", *short, "--json")
    other = archgym("evaluate", "moe", "--space", "closed-loop", *told, "--json")

    found = other.json["metrics"]
    assert one.json["tpot_mean_ms"] == found["tpot_mean_ms"]
    assert one.json["memory_gb"] == found["memory_gb"]


def test_serve_refuses_options_that_it_has_itself(archgym: Archgym) -> None:
    ran = archgym("moe", "serve", "--clients", "37", "--option", "clients=5")

    assert ran.code == 1
    assert "`--option` cannot set 'clients' here. Use --clients." in ran.err


def test_folder_of_a_model_is_told_its_file(archgym: Archgym, tmp_path: Path) -> None:
    ran = archgym("moe", "serve", "--model", str(tmp_path))

    assert ran.code == 1
    assert f"Name the file, as {tmp_path}/config.json" in ran.err.replace("\n", "")


def test_requests_of_one_output_token_are_judged_by_it(archgym: Archgym) -> None:
    dense = ("--model", "llama-3.1-8b", "--hardware", "h100", "--precision", "bf16")

    ran = archgym(
        "moe", "serve", *dense, "--clients", "1", "--prompt", "16", "--output", "1", "--json"
    )

    assert ran.json["tpot_mean_ms"] == ran.json["ttft_mean_ms"] > 1
