"""The routing generator, and files of routing."""

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import FileFormatError, InvalidArgumentError, UnknownNameError
from archgym.files.archive import write_archive
from archgym.runtime.reductions import collected_reductions
from archgym.simulators.moe.kernel.replay import Events, replay_events
from archgym.simulators.moe.workloads.presets import model, model_names
from archgym.simulators.moe.workloads.routing import (
    Routing,
    RoutingPreset,
    generate,
    routing_preset,
    routing_preset_names,
)
from archgym.simulators.moe.workloads.routing_trace import read_routing, write_routing
from evidence.moe.calibrate import pooled_layers

# Drawn once; the generator takes nothing from the machine or from a library's release.
GOLDEN = [[[7, 6], [2, 5]], [[4, 0], [2, 4]], [[0, 4], [0, 2]]]
EVEN = RoutingPreset("even", 16, 4, skew=0.0, topic=0.0, persistence=0.0)


def reuse(routing: Routing) -> float:
    """Share of a token's experts that the token before used, over all layers of one document."""
    experts = routing.experts
    shared = (experts[1:, :, :, None] == experts[:-1, :, None, :]).sum()
    return float(shared) / experts[1:].size


def test_equal_seeds_draw_equal_routing() -> None:
    drawn = [generate(EVEN, seed, [30, 20], 3).digest for seed in (1, 1, 2)]

    assert drawn[0] == drawn[1] != drawn[2]


def test_experts_are_those_of_every_machine() -> None:
    preset = RoutingPreset("fixed", 8, 2, skew=0.1, topic=0.5, persistence=0.3)

    found = generate(preset, 7, [3], 2)

    assert found.experts.tolist() == GOLDEN


def test_longer_document_begins_as_a_shorter_one() -> None:
    short = generate(routing_preset("qwen3"), 3, [40, 20], 2)
    long = generate(routing_preset("qwen3"), 3, [90, 20], 5)

    assert (long.experts[:40, :2] == short.experts[:40]).all()
    assert (long.experts[90:, :2] == short.experts[40:]).all()


def test_without_any_preference_all_experts_are_equally_busy() -> None:
    counts = np.bincount(generate(EVEN, 0, [4_000], 4).experts.ravel(), minlength=16)

    assert counts.max() / counts.mean() < 1.06
    assert reuse(generate(EVEN, 0, [4_000], 4)) == pytest.approx(4 / 16, abs=0.01)


def test_every_number_does_what_it_says() -> None:
    def drawn(**numbers: float) -> Routing:
        return generate(replace(EVEN, **numbers), 0, [2_000], 4)  # type: ignore[arg-type]

    def busiest(routing: Routing) -> float:
        counts = [np.bincount(routing.experts[:, n].ravel(), minlength=16) for n in range(4)]
        return float(np.mean([count.max() / count.mean() for count in counts]))

    assert busiest(drawn(skew=1.0)) > 1.8
    assert busiest(drawn(topic=1.0, topic_tokens=0.0)) > 1.8
    assert busiest(drawn(topic=1.0, topic_tokens=64.0)) < 1.6
    assert reuse(drawn(persistence=0.9)) > 0.6


def test_depth_ties_layers_to_the_one_before() -> None:
    alone, tied = (
        generate(replace(EVEN, depth=depth), 0, [4_000], 2).experts for depth in (0.0, 0.95)
    )

    def information(experts: np.ndarray) -> float:
        """Mutual information of the first choices of both layers [bit]."""
        joint = np.zeros((16, 16))
        np.add.at(joint, (experts[:, 0, 0], experts[:, 1, 0]), 1.0)
        joint /= joint.sum()
        apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
        used = joint > 0
        return float((joint[used] * np.log2(joint[used] / apart[used])).sum())

    assert information(alone) < 0.1
    assert information(tied) > 1.0


def test_one_router_chooses_the_same_in_every_layer() -> None:
    experts = generate(replace(EVEN, one_router=True), 0, [20], 5).experts

    assert (experts == experts[:, :1]).all()


def test_every_model_has_a_routing_preset() -> None:
    assert len(routing_preset_names()) == 11
    for name in model_names():
        assert model(name).routing in routing_preset_names()


def test_presets_of_models_fit_their_experts() -> None:
    for name in ("mixtral-8x7b", "qwen3-30b-a3b", "olmoe-1b-7b", "deepseek-v2-lite"):
        preset = routing_preset(model(name).routing)
        assert (preset.n_experts, preset.top_k) == (model(name).experts, model(name).top_k)


def test_unknown_preset_answers_with_near_names() -> None:
    with pytest.raises(UnknownNameError, match="mixtral-8x7b"):
        routing_preset("mixtral")


def test_own_preset_is_read_and_takes_the_rest_from_a_preset(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("routing:\n  preset: olmoe\n  topic: 2.5\n  one_router: true\n")

    found = routing_preset(str(path))

    base = routing_preset("olmoe")
    assert (found.name, found.topic, found.one_router) == ("mine", 2.5, True)
    assert (found.n_experts, found.persistence) == (base.n_experts, base.persistence)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("model: {}\n", 1),
        ("routing:\n  preset: none\n", 2),
        ("routing:\n  preset: olmoe\n  persistence: 1.5\n", 3),
        ("routing:\n  preset: olmoe\n  top_k: 100\n", 1),
        ("routing:\n  n_experts: 4\n", 1),
        ("routing:\n  wings: 4\n", 2),
    ],
)
def test_bad_preset_is_refused_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)

    with pytest.raises(FileFormatError) as refused:
        routing_preset(str(path))

    assert refused.value.line == line


def test_pooled_layers_keep_their_experts_apart() -> None:
    experts = np.array([[[0, 1], [1, 2]]], dtype=np.int16)

    assert pooled_layers(Routing(experts, np.array([0, 1]), 3)).experts.tolist() == [[[0, 1, 4, 5]]]


@pytest.mark.parametrize(
    ("experts", "starts", "n_experts", "words"),
    [
        (np.zeros((2, 1, 2), np.int16), [0, 2], 4, "once"),
        (np.full((2, 1, 1), 4, np.int16), [0, 2], 4, "from 0 to 3"),
        (np.full((2, 1, 1), -1, np.int16), [0, 2], 4, "from 0 to 3"),
        (np.zeros((2, 1, 1), np.int32), [0, 2], 4, "int16"),
        (np.zeros((2, 1), np.int16), [0, 2], 4, "shape"),
        (np.zeros((2, 1, 1), np.int16), [0, 1], 4, "starts"),
        (np.zeros((2, 1, 1), np.int16), [0, 0, 2], 4, "starts"),
        (np.zeros((0, 1, 1), np.int16), [0, 0], 4, "token"),
        (np.zeros((2, 1, 1), np.int16), [0, 2], 0, "n_experts"),
    ],
)
def test_bad_routing_is_refused(
    experts: np.ndarray, starts: list[int], n_experts: int, words: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        Routing(experts, np.array(starts, dtype=np.int64), n_experts)


@pytest.mark.parametrize(
    ("tokens", "layers", "seed"), [([0], 1, 0), ([], 1, 0), ([5], 0, 0), ([5], 1, -1)]
)
def test_nothing_to_draw_is_refused(tokens: list[int], layers: int, seed: int) -> None:
    with pytest.raises(InvalidArgumentError):
        generate(EVEN, seed, tokens, layers)


def test_more_than_memory_holds_is_refused_before_it_is_taken() -> None:
    with pytest.raises(InvalidArgumentError, match="at most"):
        generate(EVEN, 0, [10**9], 1000)


def test_trace_is_read_as_written_and_equal_bytes(tmp_path: Path) -> None:
    drawn = generate(EVEN, 0, [30, 20], 3)
    first, second = tmp_path / "a.routing.npz", tmp_path / "b.routing.npz"

    write_routing(first, drawn)
    write_routing(second, drawn)

    assert read_routing(first).digest == drawn.digest
    assert read_routing(first).name == "even"
    assert first.read_bytes() == second.read_bytes()


def test_trace_of_another_ending_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"\.routing\.npz"):
        write_routing(tmp_path / "a.npz", generate(EVEN, 0, [3], 1))


def bad_files(folder: Path) -> dict[str, Path]:
    """Files that are no routing traces, by what is wrong."""
    good = {"format": "archgym-routing", "version": 1, "name": "x", "n_experts": 4}
    experts = np.zeros((2, 1, 1), np.int16)
    starts = np.array([0, 2])
    cases = {
        "format": (good | {"format": "other"}, experts, starts),
        "version": (good | {"version": 9}, experts, starts),
        "experts": (good | {"n_experts": True}, experts, starts),
        "many": (good | {"n_experts": 10**9}, experts, starts),
        "name": (good | {"name": [1]}, experts, starts),
        "outside": (good, experts + np.int16(4), starts),
        "kind": (good, experts.astype(np.float64), starts),
        "starts": (good, experts, np.array([0, 3])),
    }
    paths = {}
    for name, (header, first, second) in cases.items():
        paths[name] = folder / f"{name}.routing.npz"
        write_archive(paths[name], "routing.json", header, {"experts": first, "starts": second})
    paths["text"] = folder / "text.routing.npz"
    paths["text"].write_text("hello")
    paths["torn"] = folder / "torn.routing.npz"
    write_routing(paths["torn"], generate(EVEN, 0, [300], 3))
    paths["torn"].write_bytes(paths["torn"].read_bytes()[:-900])
    paths["pickle"] = folder / "pickle.routing.npz"
    np.savez(paths["pickle"], experts=np.array([{}], dtype=object))
    paths["bomb"] = folder / "bomb.routing.npz"
    with zipfile.ZipFile(paths["bomb"], "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("routing.json", b" " * (2**26 + 1))
    return paths


def test_bad_traces_are_refused_in_one_line(tmp_path: Path) -> None:
    for name, path in bad_files(tmp_path).items():
        with pytest.raises(FileFormatError) as refused:
            read_routing(path)
        assert "\n" not in str(refused.value), name
        assert str(path) in str(refused.value), name


def test_requests_of_a_batch_share_more_experts_where_routing_is_skewed() -> None:
    def missed(skew: float) -> float:
        preset = RoutingPreset("x", 64, 4, skew, 0.0, 0.0)
        drawn = generate(preset, 3, [64] * 8, 2)
        found = replay_events(Events.from_routing(drawn, batch=8), "lru", 64, scope="layer")
        return found.misses / (found.misses + found.hits)

    few, some, many = missed(0.0), missed(0.4), missed(1.0)

    # Half of the experts of each layer have room.
    assert few > some > many
    assert few > 1.5 * many


def test_layers_differ_in_skew() -> None:
    def most_used(layer_spread: float) -> np.ndarray:
        preset = RoutingPreset("x", 64, 4, 0.3, 0.0, 0.0, layer_spread=layer_spread)
        drawn = generate(preset, 3, [256] * 4, 8)
        return np.array([np.bincount(drawn.experts[:, at].ravel()).max() for at in range(8)])

    alike, unlike = most_used(0.0), most_used(1.0)

    assert alike.max() / alike.min() < 1.5 < unlike.max() / unlike.min()


def test_name_that_is_cut_is_reported(tmp_path: Path) -> None:
    routing = replace(generate(EVEN, 0, [3], 1), name="x" * 250)

    with collected_reductions() as notes:
        write_routing(tmp_path / "a.routing.npz", routing)

    assert notes == ["letters of the trace's name: 200 of 250 are used; shorten it."]


def test_documents_that_are_alike_share_experts_in_a_batch() -> None:
    preset = RoutingPreset("alike", 64, 4, 0.0, 1.5, 0.3, topic_tokens=0.0)
    lengths = [64] * 8

    apart, alike = (generate(replace(preset, alike=share), 3, lengths, 4) for share in (0.0, 0.8))

    def distinct(routing: Routing, n_documents: int) -> float:
        """Returns mean distinct experts of a layer for one token of each document."""
        experts = routing.experts.reshape(8, 64, 4, 4)[:n_documents]
        return float(
            np.mean([len(np.unique(experts[:, t, layer])) for t in range(64) for layer in range(4)])
        )

    # One document is as before; eight share experts, of which there are at most 32.
    assert distinct(apart, 1) == distinct(alike, 1) == 4.0
    assert distinct(alike, 8) < 0.8 * distinct(apart, 8)


def test_documents_that_are_all_alike_keep_their_own_noise() -> None:
    preset = RoutingPreset("alike", 16, 2, 0.0, 1.0, 0.3, alike=1.0)

    experts = generate(preset, 1, [32, 32], 2).experts

    assert (experts[:32] != experts[32:]).any()
