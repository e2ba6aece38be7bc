"""Expert-cache policies as code: equal to the built-in ones, and readers of their traces."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import ArchGymError, FileFormatError
from archgym.rules.case import built_in, compare_rules, evaluate
from archgym.rules.language import check_rule
from archgym.rules.sandbox import RuleRunner
from archgym.simulators.moe.kernel.replay import Events
from archgym.simulators.moe.rules.case import CacheCase, open_case, read_events
from archgym.simulators.moe.rules.domain import EXPERT_CACHE
from archgym.simulators.moe.workloads.routing import generate, routing_preset

TEMPLATES = EXPERT_CACHE.templates


@pytest.fixture(scope="module")
def events() -> Events:
    return Events.from_routing(generate(routing_preset("olmoe"), 5, [40, 60, 50], 4))


@pytest.fixture(scope="module")
def runner() -> Iterator[RuleRunner]:
    with RuleRunner(seconds=120) as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("admission", ["bypass", "forced"])
@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize(
    "capacity", [9, *(pytest.param(n, marks=pytest.mark.nightly) for n in (1, 64, 200))]
)
@pytest.mark.parametrize("policy", ["lru", "lfu", "lfru"])
def test_written_policy_equals_the_built_in_one(
    events: Events, runner: RuleRunner, policy: str, capacity: int, scope: str, admission: str
) -> None:
    case = CacheCase("events", events, capacity, scope, admission)

    written = evaluate(check_rule(TEMPLATES[policy]), case, runner)
    shipped = built_in(policy, case)

    assert written.measures["misses"] == shipped.measures["misses"]
    assert written.measures["loads"] >= written.measures["bound_loads"]


@pytest.mark.slow
def test_prefetch_loads_are_counted_and_some_are_useful(events: Events, runner: RuleRunner) -> None:
    case = CacheCase("events", events, 64)

    found = evaluate(check_rule(TEMPLATES["prefetch"]), case, runner)

    counts = found.counts
    assert 0 < counts["useful"] < counts["prefetched"]
    assert found.measures["loads"] == counts["misses"] + counts["prefetched"]


@pytest.mark.slow
def test_admission_can_keep_everything_out(events: Events, runner: RuleRunner) -> None:
    text = TEMPLATES["lru"] + "\n\ndef admit(block, layer, time):\n    return 0\n"

    found = evaluate(check_rule(text), CacheCase("events", events, 64), runner)

    assert found.measures["misses"] == found.measures["uses"]


@pytest.mark.slow
def test_causes_of_misses_add_up_and_bytes_follow(events: Events, runner: RuleRunner) -> None:
    case = CacheCase("events", events, 64, expert_bytes=1e6, link_gb_per_s=2.0)

    found = evaluate(check_rule(TEMPLATES["lru"]), case, runner).to_json()

    parts = [found[f"{part}_loads"] for part in ("compulsory", "capacity", "policy")]
    assert sum(parts) == found["loads"]
    assert found["bytes_moved"] == found["loads"] * 1e6
    assert found["transfer_ms"] == pytest.approx(found["loads"] * 0.5)
    # 256 blocks of 32 bits, and the counter of events.
    assert found["state_bits"] == 256 * 32 + 32


@pytest.mark.slow
def test_tunable_constants_change_the_result_without_another_source(
    events: Events, runner: RuleRunner
) -> None:
    source = check_rule(TEMPLATES["decay"])
    case = CacheCase("events", events, 64)

    default = evaluate(source, case, runner)
    same = evaluate(source, case, runner, tuned={"PERIOD": 512})
    other = evaluate(source, case, runner, tuned={"PERIOD": 16, "GAIN": 200})

    assert default.to_json() == same.to_json()
    assert default.measures["misses"] != other.measures["misses"]


@pytest.mark.slow
def test_comparison_ranks_by_held_out_traces() -> None:
    sources = {"mine": check_rule(TEMPLATES["lru"])}

    found = compare_rules(sources, ["olmoe:1"], ["olmoe:2"]).to_json()

    losses = [each["held_out_loss"] for each in found["policies"]]
    by_name = {each["policy"]: each for each in found["policies"]}
    assert losses == sorted(losses)
    assert by_name["mine"]["held_out_loss"] == by_name["built-in lru"]["held_out_loss"]
    assert min(losses) >= 1


def test_held_out_trace_cannot_be_a_training_trace() -> None:
    with pytest.raises(ArchGymError, match="must not be a training trace; got olmoe:1"):
        compare_rules({"a": check_rule(TEMPLATES["lru"])}, ["olmoe:1"], ["olmoe:1"])


# ---- traces of engines


def test_trace_of_llama_cpp_is_read(tmp_path: Path) -> None:
    path = tmp_path / "moe_trace.csv"
    # Two layers, two experts a token: a prompt of two tokens, then one token.
    path.write_text("layer,expert\n0,3\n0,1\n0,1\n0,2\n1,0\n1,2\n1,0\n1,3\n0,1\n0,0\n1,2\n1,1\n")

    found = read_events(path)

    assert found.layers.tolist() == [0, 1, 0, 1]
    assert found.cycles.tolist() == [0, 0, 1, 1]
    assert found.offsets.tolist() == [0, 3, 6, 8, 10]
    assert found.experts.tolist() == [1, 2, 3, 0, 2, 3, 0, 1, 1, 2]
    assert (found.n_layers, found.n_experts) == (2, 4)


def test_routed_experts_of_vllm_are_read(tmp_path: Path) -> None:
    routed = np.array([[[0, 1], [2, 3]], [[1, 2], [0, 3]]], dtype=np.int32)
    np.save(tmp_path / "request.npy", routed)
    np.savez(tmp_path / "requests.npz", experts=routed, starts=np.array([0, 1, 2]))

    one, two = read_events(tmp_path / "request.npy"), read_events(tmp_path / "requests.npz")

    assert one.experts.tolist() == two.experts.tolist() == [0, 1, 2, 3, 1, 2, 0, 3]
    assert one.layers.tolist() == [0, 1, 0, 1]


def test_rows_of_documents_are_read_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(
        "document,token,layer,expert\n1,0,0,2\n0,1,1,3\n0,0,0,1\n0,0,0,0\n0,0,1,3\n0,1,0,1\n"
    )

    found = read_events(path)

    assert found.cycles.tolist() == [0, 0, 1, 1, 2]
    assert found.layers.tolist() == [0, 1, 0, 1, 0]
    assert found.experts.tolist() == [0, 1, 3, 1, 3, 2]


HOSTILE = {
    "empty.csv": (b"", "the header must be"),
    "header.csv": (b"a,b\n1,2\n", "the header must be"),
    "none.csv": (b"layer,expert\n", "has no rows"),
    "text.csv": (b"layer,expert\n1,x\n", ":2: a row must hold whole numbers"),
    "short.csv": (b"layer,expert\n1\n", ":2: a row must hold 2 numbers"),
    "negative.csv": (b"layer,expert\n0,1\n0,-1\n", ":3: a row must hold 2 numbers"),
    "huge.csv": (b"layer,expert\n0,99999999\n", "ids at most 32767"),
    "code.csv": (b"layer,expert\n__import__('os'),1\n", "whole numbers"),
    "bytes.csv": (b"\xff\xfe\x00", "must be UTF-8"),
    "text.npy": (b"hello", "not a NumPy file"),
    "torn.npz": (b"PK\x03\x04torn", "not a NumPy archive"),
    "text.npz": (b"hello", "not a NumPy archive"),
    "a.routing.npz": (b"hello", "a.routing.npz"),
    "a.txt": (b"1,2", "a trace must end in"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_damaged_trace_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    content, words = HOSTILE[name]
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ArchGymError) as refusal:
        read_events(tmp_path / name)

    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_pickled_array_is_not_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)

    with pytest.raises(FileFormatError, match="not a NumPy file"):
        read_events(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"capacity": "0"}, "`capacity` must be 1 to"),
        ({"capacity": "nan%"}, "`capacity` must be 1 to"),
        ({"capacity": "101%"}, "`capacity` must be 1 to"),
        ({"scope": "all"}, "scope"),
        ({"admission": "all"}, "admission"),
        ({"expert_mb": "-1"}, "`expert_mb` must be a number above 0"),
        ({"link_gb_per_s": "nan"}, "`link_gb_per_s` must be a number above 0"),
        ({"capacities": "3"}, "Did you mean 'capacity'"),
    ],
)
def test_option_out_of_range_is_refused(options: dict[str, str], words: str) -> None:
    with pytest.raises(ArchGymError, match=words):
        open_case("olmoe:1", options)
