import json
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import ArchGymError, FileFormatError
from archgym.files.policy import Policy

POLICY = Policy(
    "ppo",
    {"learning_rate": 0.001, "formulation": "whole"},
    {"layers": [64, 64]},
    {"body.0": np.arange(6, dtype=np.float32).reshape(2, 3), "scale": np.array(2.0)},
)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "policy.npz"
    POLICY.save(path)
    return path


def write(path: Path, entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def entries_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_policy_is_read_as_it_was_written(saved: Path) -> None:
    read = Policy.load(saved)

    assert (read.agent, read.hyperparameters) == (POLICY.agent, POLICY.hyperparameters)
    assert read.description == POLICY.description
    assert list(read.weights) == list(POLICY.weights)
    for name, weight in POLICY.weights.items():
        assert read.weights[name].dtype == weight.dtype
        assert np.array_equal(read.weights[name], weight)


def test_equal_policies_are_equal_bytes(saved: Path, tmp_path: Path) -> None:
    POLICY.save(tmp_path / "again.npz")

    assert (tmp_path / "again.npz").read_bytes() == saved.read_bytes()


def test_numpy_reads_the_weights(saved: Path) -> None:
    with np.load(saved, allow_pickle=False) as weights:
        assert weights["body.0"].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]


def test_torn_file_is_refused_at_every_length(saved: Path) -> None:
    content = saved.read_bytes()
    for length in range(0, len(content), 29):
        saved.write_bytes(content[:length])

        with pytest.raises(FileFormatError, match="must be what ArchGym wrote"):
            Policy.load(saved)


def test_no_flipped_byte_breaks_the_reader(saved: Path) -> None:
    content = saved.read_bytes()
    for place in range(0, len(content), 3):
        changed = bytearray(content)
        changed[place] ^= 0x55
        saved.write_bytes(changed)

        with suppress(ArchGymError):
            Policy.load(saved)


def test_pickled_array_is_refused(saved: Path) -> None:
    entries = entries_of(saved)
    np.save(saved.parent / "evil.npy", np.array([{}], dtype=object), allow_pickle=True)
    write(saved, entries | {"body.0.npy": (saved.parent / "evil.npy").read_bytes()})

    with pytest.raises(FileFormatError, match="pickle"):
        Policy.load(saved)


def test_bomb_is_refused_before_it_is_unpacked(saved: Path) -> None:
    write(saved, entries_of(saved) | {"x.npy": bytes(2**20)}, zipfile.ZIP_DEFLATED)

    with pytest.raises(FileFormatError, match="compressed"):
        Policy.load(saved)


def test_array_that_claims_more_than_it_holds_is_refused(saved: Path) -> None:
    entries = entries_of(saved)
    claims = entries["body.0.npy"].replace(b"(2, 3), }         ", b"(9000000000, 9), }")
    assert claims != entries["body.0.npy"]
    write(saved, entries | {"body.0.npy": claims})

    with pytest.raises(FileFormatError, match="cut off"):
        Policy.load(saved)


def test_weight_that_is_no_number_is_refused(tmp_path: Path) -> None:
    Policy("ppo", {}, {}, {"w": np.array([1.0, np.nan])}).save(tmp_path / "p.npz")

    with pytest.raises(FileFormatError, match="not finite numbers"):
        Policy.load(tmp_path / "p.npz")


@pytest.mark.parametrize("about", ["[]", '{"agent": 1}', "nonsense", "[" * 100_000])
def test_description_of_another_kind_is_refused(saved: Path, about: str) -> None:
    write(saved, entries_of(saved) | {"policy.json": about.encode()})

    with pytest.raises(FileFormatError):
        Policy.load(saved)


def test_description_is_plain_json(saved: Path) -> None:
    about = json.loads(entries_of(saved)["policy.json"])

    assert about["hyperparameters"] == {"learning_rate": 0.001, "formulation": "whole"}
