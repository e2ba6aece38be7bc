"""Layers of ONNX models, sound and damaged."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.cli.app import run
from archgym.errors import ArchGymError, FileFormatError
from archgym.simulators.accelerator.formats.onnx_model import read_onnx
from archgym.simulators.accelerator.workloads import read_network

onnx: Any = pytest.importorskip("onnx")


def model(batch: int | str = 1) -> Any:
    """Two equal convolutions, a depthwise one, a product with its weights and one without."""
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    rng = np.random.default_rng(0)

    def weights(name: str, *shape: int) -> Any:
        return onnx.numpy_helper.from_array(rng.random(shape, dtype=np.float32), name)

    square = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        make.make_node("Conv", ["x", "w1"], ["a"], name="first", **square),
        make.make_node("Relu", ["a"], ["b"]),
        make.make_node("Conv", ["b", "w1"], ["c"], name="second", **square),
        make.make_node("Conv", ["c", "w2"], ["d"], name="deep", group=8, strides=[2, 1], **square),
        make.make_node("Flatten", ["d"], ["e"]),
        make.make_node("Gemm", ["e", "w3"], ["f"], name="head", transB=1),
        make.make_node("Transpose", ["f"], ["g"], perm=[1, 0]),
        make.make_node("MatMul", ["g", "f"], ["y"], name="gram"),
    ]
    graph = make.make_graph(
        nodes,
        "small",
        [make.make_tensor_value_info("x", kind, [batch, 8, 16, 12])],
        [make.make_tensor_value_info("y", kind, [10, 10])],
        [weights("w1", 8, 8, 3, 3), weights("w2", 8, 1, 3, 3), weights("w3", 10, 8 * 8 * 12)],
    )
    return make.make_model(graph)


def test_layers_are_those_of_the_model(tmp_path: Path) -> None:
    path = tmp_path / "small.onnx"
    onnx.save(model(), path)

    found = read_onnx(path)
    table = tmp_path / "small.csv"
    table.write_text(found.table)

    layers = read_network(table).layers
    assert [(layer.name, layer.count) for layer in layers] == [
        ("first", 2),
        ("deep", 1),
        ("head", 1),
        ("gram", 1),
    ]
    assert [layer.problem.n_operations for layer in layers] == [
        16 * 12 * 8 * 8 * 9,
        8 * 12 * 8 * 9,
        8 * 8 * 12 * 10,
        10 * 10,
    ]
    # Width is X: P; height is Y: Q, which the stride halves.
    assert (layers[1].problem.bounds["P"], layers[1].problem.bounds["Q"]) == (12, 8)


def test_a_named_size_has_to_be_given(tmp_path: Path) -> None:
    path = tmp_path / "named.onnx"
    onnx.save(model("batch"), path)

    with pytest.raises(FileFormatError, match="--size batch=1"):
        read_onnx(path)

    assert read_onnx(path, {"batch": 2}).rows[0]["batch"] == 2


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x07", b"\xff" * 100])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "no.onnx"
    path.write_bytes(content)

    with pytest.raises(FileFormatError, match="must be an ONNX model"):
        read_onnx(path)


@pytest.mark.slow
def test_damaged_models_are_refused_in_one_line_or_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    small = model()
    for tensor in small.graph.initializer:
        tensor.raw_data = b""
    whole = small.SerializeToString()
    path = tmp_path / "damaged.onnx"
    refusals = []
    for number in range(400):
        damaged = bytearray(whole)
        for place in rng.integers(len(whole), size=1 + number % 4):
            damaged[place] = rng.integers(256)
        if number % 5 == 0:
            del damaged[int(rng.integers(len(damaged))) :]
        path.write_bytes(bytes(damaged))
        try:
            read_onnx(path)
        except ArchGymError as error:
            refusals.append(str(error))

    assert len(refusals) > 50
    assert not any("\n" in refusal for refusal in refusals)
    assert max(map(len, refusals)) < 600


def test_a_model_whose_layers_are_too_large_leaves_no_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, table = tmp_path / "named.onnx", tmp_path / "table.csv"
    onnx.save(model("batch"), path)
    size = ["--size", "batch=1000000000"]

    with pytest.raises(SystemExit) as ended:
        run(["workload", "import", str(path), "--out", str(table), *size])

    assert ended.value.code == 1
    assert "must have at most 2^50 operations" in capsys.readouterr().err
    assert not table.exists()
