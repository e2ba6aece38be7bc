"""Networks have the size that their papers and libraries give."""

from pathlib import Path

import numpy as np
import pytest

from archgym.errors import ArchGymError, FileFormatError, UnknownNameError
from archgym.simulators.accelerator.workloads import (
    COLUMNS,
    NETWORKS,
    layer_named,
    load_network,
    network_csv,
    read_network,
)


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        # torchvision's documented GFLOPS (multiply-accumulates); Krizhevsky et al. for AlexNet.
        ("alexnet", 724),
        ("resnet-18", 1814),
        ("resnet-50", 4089),
        ("vgg-16", 15470),
        ("mobilenet-v2", 301),
        ("mobilenet-v3", 217),
        ("efficientnet-b0", 386),
        # 12 x (4 x 128 x 768^2 + 2 x 128^2 x 768 + 2 x 128 x 768 x 3072).
        ("bert-base", 11174),
    ],
)
def test_operations_are_as_published(name: str, millions: int) -> None:
    assert round(load_network(name).n_operations / 1e6) == millions


def test_weights_of_convolutional_networks_are_as_published() -> None:
    millions = {name: load_network(name).n_weights / 1e6 for name in ("vgg-16", "resnet-50")}

    # torchvision: 138.36 and 25.56 million parameters, biases and normalisation included.
    assert millions["vgg-16"] == pytest.approx(138.36, rel=1e-3)
    assert millions["resnet-50"] == pytest.approx(25.56, rel=3e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_names_its_source_and_differs(name: str) -> None:
    network = load_network(name)

    assert network.source
    assert len({layer.problem.shape for layer in network.layers}) == len(network.layers)


def test_unknown_names_list_the_near_ones() -> None:
    with pytest.raises(UnknownNameError, match="resnet-18"):
        load_network("resnet18")
    with pytest.raises(UnknownNameError, match="conv1"):
        layer_named("resnet-18/conv_1")


def test_a_table_that_is_written_reads_back(tmp_path: Path) -> None:
    rows: list[dict[str, str | int]] = [
        {"layer": "a", "kind": "conv", "count": 2, "channels": 3, "filters": 8, "kernel_x": 3},
        {"layer": "b", "kind": "matmul", "count": 1, "channels": 3, "filters": 8},
    ]
    path = tmp_path / "mine.csv"
    path.write_text(network_csv([dict(row) for row in rows], "by hand"))

    network = read_network(path)

    assert network.source == "by hand"
    assert [(layer.name, layer.count) for layer in network.layers] == [("a", 2), ("b", 1)]
    assert network.layers[0].problem.n_operations == 3 * 8 * 3


@pytest.mark.parametrize(
    ("row", "line", "what"),
    [
        ("a,conv,1,1,3,8,x,1,1,1,1,1,1,1,1", 2, "output_x must be a whole number"),
        ("a,pool,1,1,3,8,1,1,1,1,1,1,1,1,1", 2, "kind must be conv or matmul"),
        ("a,conv,1,2,3,8,1,1,1,1,1,1,1,1,1", 2, "must divide channels and filters"),
        ("a,conv,1,1,0,8,1,1,1,1,1,1,1,1,1", 2, "channels must lie between 1"),
        ("a,conv,1", 2, "a row must have 15 cells"),
        ("a,conv,1,1" + ",999999999" * 4 + ",1" * 7, 2, "2\\^50 operations"),
    ],
)
def test_a_wrong_row_is_refused_with_its_line(
    tmp_path: Path, row: str, line: int, what: str
) -> None:
    header = network_csv([], "x").splitlines()[1]
    path = tmp_path / "wrong.csv"
    path.write_text(f"{header}\n{row}\n")

    with pytest.raises(FileFormatError, match=what) as refused:
        read_network(path)

    assert refused.value.line == line


def test_damaged_tables_are_refused_in_one_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = network_csv(
        [{"layer": "a", "kind": "conv", "count": 1, "channels": 3, "filters": 8}], "x"
    ).encode()
    path = tmp_path / "damaged.csv"
    refusals = []
    for _ in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(len(whole), size=3):
            damaged[place] = rng.integers(256)
        path.write_bytes(bytes(damaged))
        try:
            read_network(path)
        except ArchGymError as error:
            refusals.append(str(error))

    assert len(refusals) > 200
    assert not any("\n" in refusal for refusal in refusals)


def test_largest_layers_are_those_with_most_operations_in_their_order() -> None:
    network = load_network("resnet-18")

    # Three 3 x 3 convolutions of layer 1, 2 and 3 occur 4, 3 and 3 times, at 115.6 million each.
    largest = network.largest(3)
    assert [layer.name for layer in largest.layers] == [
        "layer1.0.conv1",
        "layer2.0.conv2",
        "layer3.0.conv2",
    ]
    assert [layer.count for layer in largest.layers] == [4, 3, 3]
    assert network.largest(12) is network


def test_layer_of_a_file_in_another_folder_is_found(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(",".join(COLUMNS) + "\nproduct,matmul,1,1,8,8,8,,,,,,,,\n")

    assert layer_named(f"{path}/product").name == "product"
