"""Requests: traces of others, our own, and drawn ones."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import FileFormatError, InvalidArgumentError
from archgym.runtime.reductions import collected_reductions
from archgym.simulators.moe.workloads.requests import ARRIVALS, generate_requests, read_requests


def test_azure_trace_is_as_published(reference: Path) -> None:
    found = read_requests(reference / "arrivals" / "AzureLLMInferenceTrace_conv.csv")

    gaps = np.diff(found.arrival_ns)
    assert len(found) == 19_366
    assert found.arrival_ns[-1] / 1e9 == pytest.approx(3_502, abs=1)
    assert found.prompt_tokens.mean() == pytest.approx(1_155, abs=1)
    assert found.output_tokens.mean() == pytest.approx(211, abs=1)
    assert gaps.std() / gaps.mean() == pytest.approx(1.09, abs=0.01)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "azure.csv",
            "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.5000000,3,4\n"
            "2023-11-16 18:15:48,5,6\n",
        ),
        (
            "mooncake.jsonl",
            '{"timestamp": 1000, "input_length": 3, "output_length": 4, "hash_ids": [1, 2]}\n'
            '{"timestamp": 2500, "input_length": 5, "output_length": 6, "hash_ids": []}\n',
        ),
        ("own.csv", "output_tokens,arrival_s,prompt_tokens\n6,2.0,5\n4,0.5,3\n"),
        (
            "own.jsonl",
            '{"arrival_s": 0, "prompt_tokens": 3, "output_tokens": 4}\n\n'
            '{"arrival_s": 1.5, "prompt_tokens": 5, "output_tokens": 6}\n',
        ),
    ],
)
def test_every_format_says_the_same(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)

    found = read_requests(path)

    assert found.arrival_ns.tolist() == [0, 1_500_000_000]
    assert found.prompt_tokens.tolist() == [3, 5]
    assert found.output_tokens.tolist() == [4, 6]
    assert found.lengths.tolist() == [6, 10]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("empty.csv", b"", None),
        ("heading.csv", b"arrival_s,prompt_tokens\n", 1),
        ("short.csv", b"arrival_s,prompt_tokens,output_tokens\n1,2\n", 2),
        ("word.csv", b"arrival_s,prompt_tokens,output_tokens\n1,2,x\n", 2),
        ("negative.csv", b"arrival_s,prompt_tokens,output_tokens\n-1,2,3\n", 2),
        ("infinite.csv", b"arrival_s,prompt_tokens,output_tokens\ninf,2,3\n", 2),
        ("huge.csv", b"arrival_s,prompt_tokens,output_tokens\n1,1e12,3\n", 2),
        ("half.csv", b"arrival_s,prompt_tokens,output_tokens\n1,2.5,3\n", 2),
        ("none.csv", b"arrival_s,prompt_tokens,output_tokens\n1,0,3\n", 2),
        ("latin.csv", b"arrival_s,prompt_tokens,output_tokens\n1,2,3\n\xff\n", 3),
        ("date.csv", b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-13-01 00:00:00,2,3\n", 2),
        (
            "ages.csv",
            b"TIMESTAMP,ContextTokens,GeneratedTokens\n"
            b"0001-01-01 00:00:00,2,3\n9999-12-31 00:00:00,2,3\n",
            None,
        ),
        ("array.jsonl", b"[1]\n", 1),
        ("torn.jsonl", b'{"arrival_s": 0, "prompt_tokens": 3, "output_tokens": 4}\n{"arr', 2),
        ("deep.jsonl", b"[" * 100_000, 1),
        ("digits.jsonl", b'{"arrival_s": ' + b"9" * 5_000 + b"}", 1),
        ("bool.jsonl", b'{"arrival_s": 0, "prompt_tokens": true, "output_tokens": 4}\n', 1),
        ("long.csv", b"a" * (2**20 + 2), 1),
    ],
)
def test_bad_trace_is_refused_with_its_line(
    tmp_path: Path, name: str, content: bytes, line: int | None
) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(FileFormatError) as refused:
        read_requests(path)

    assert refused.value.line == line
    assert len(str(refused.value)) < 600


def test_only_so_many_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("arrival_s,prompt_tokens,output_tokens\n0,1,1\n1,2,2\nnonsense\n")

    assert len(read_requests(path, limit=2)) == 2


@pytest.mark.parametrize("arrivals", [name for name in ARRIVALS if name != "at-once"])
def test_drawn_arrivals_have_the_mean_rate(arrivals: str) -> None:
    found = generate_requests(
        40_000, 3, rate_per_s=5.0, prompt_mean=10, output_mean=10, arrivals=arrivals, cv=3.0
    )

    assert np.diff(found.arrival_ns).mean() / 1e9 == pytest.approx(0.2, rel=0.05)


def test_gamma_arrivals_have_the_coefficient_of_variation_asked_for() -> None:
    found = generate_requests(
        40_000, 3, rate_per_s=5.0, prompt_mean=10, output_mean=10, arrivals="gamma", cv=3.0
    )

    gaps = np.diff(found.arrival_ns)
    assert gaps.std() / gaps.mean() == pytest.approx(3.0, rel=0.05)


def test_drawn_lengths_have_mean_and_spread() -> None:
    found = generate_requests(
        40_000, 3, rate_per_s=5.0, prompt_mean=500, output_mean=100, prompt_spread=0.8
    )

    assert found.prompt_tokens.mean() == pytest.approx(500, rel=0.02)
    assert np.log(found.prompt_tokens).std() == pytest.approx(0.8, rel=0.02)
    assert set(found.output_tokens.tolist()) == {100}


def test_equal_seeds_draw_equal_requests() -> None:
    def drawn(seed: int) -> str:
        return generate_requests(
            50, seed, rate_per_s=1.0, prompt_mean=9, output_mean=9, prompt_spread=1.0
        ).digest

    assert drawn(1) == drawn(1) != drawn(2)


def test_rate_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="rate_per_s"):
        generate_requests(5, 0, rate_per_s=0.0, prompt_mean=1, output_mean=1)


def test_hashes_of_prompts_are_read_in_the_order_of_arrival(tmp_path: Path) -> None:
    path = tmp_path / "mooncake.jsonl"
    path.write_text(
        '{"timestamp": 9, "input_length": 600, "output_length": 2, "hash_ids": [7, 8]}\n'
        '{"timestamp": 3, "input_length": 500, "output_length": 2, "hash_ids": [7]}\n'
    )

    found = read_requests(path)

    assert found.hash_ids == ((7,), (7, 8))
    assert found.first(1).hash_ids == ((7,),)
    assert found.digest != replace(found, hash_ids=()).digest


def test_hashes_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"timestamp": 1, "input_length": 6, "output_length": 2, "hash_ids": "7"}\n')

    with pytest.raises(FileFormatError, match="hash_ids") as refused:
        read_requests(path)

    assert refused.value.line == 1


def test_clipped_lengths_are_reported() -> None:
    with collected_reductions() as notes:
        generate_requests(
            100, 3, rate_per_s=1.0, prompt_mean=5e6, output_mean=10, prompt_spread=3.0
        )

    (note,) = notes
    assert re.match(r"prompt: \d+ of 100 drawn lengths are clipped to 1 to 10,000,000 tokens", note)
