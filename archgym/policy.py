"""What an agent has learned, as data: numbers, and a description of what they mean."""

import io
import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from archgym.errors import FileFormatError
from archgym.storage import atomic_file, storage_errors

__all__ = ["Policy"]

# chosen: thousands of times a policy that was seen; no more is unpacked, whatever a file says.
_MAX_BYTES = 2**30
_MAX_ARRAYS = 10_000
_DESCRIPTION = "policy.json"
_RESTORE = "Restore it from a copy, or run the study again"


@final
@dataclass(frozen=True)
class Policy:
    """Weights and what is needed to use them; no code.

    `agent` names the agent that learned it, with its `hyperparameters`; `description` is JSON of
    the agent's own; `weights` are float or whole numbers by name.
    """

    agent: str
    hyperparameters: Mapping[str, Any]
    description: Mapping[str, Any]
    weights: Mapping[str, np.ndarray]

    def save(self, path: str | Path) -> None:
        """Writes one `.npz` file, whole or not at all.

        Raises:
          StorageError: It cannot be written.
        """
        about = json.dumps(
            {
                "agent": self.agent,
                "hyperparameters": dict(self.hyperparameters),
                "description": dict(self.description),
            }
        )
        with atomic_file(path) as scratch, zipfile.ZipFile(scratch, "w") as archive:
            archive.writestr(_entry(_DESCRIPTION), about)
            for name, weight in self.weights.items():
                with archive.open(_entry(f"{name}.npy"), "w", force_zip64=True) as handle:
                    np.lib.format.write_array(handle, np.asarray(weight), allow_pickle=False)

    @classmethod
    def load(cls, path: str | Path) -> "Policy":
        """Reads what `save` wrote.

        Raises:
          FileFormatError: The file is damaged or no policy.
          StorageError: It cannot be read.
        """
        path = Path(path)
        with storage_errors(path, "read"), path.open("rb") as handle:
            try:
                with zipfile.ZipFile(handle) as archive:
                    return _read(path, archive)
            except (zipfile.BadZipFile, ValueError, EOFError, KeyError, RecursionError) as error:
                raise FileFormatError(
                    path, None, f"a policy must be what ArchGym wrote; {_words(error)}", _RESTORE
                ) from None
            except (NotImplementedError, RuntimeError) as error:
                # What zipfile says of a compression it does not know, or of a password.
                raise FileFormatError(
                    path, None, f"a policy must be what ArchGym wrote; {_words(error)}", _RESTORE
                ) from None


def _entry(name: str) -> zipfile.ZipInfo:
    # Without the time of writing, so that equal policies are equal bytes.
    return zipfile.ZipInfo(name)


def _read(path: Path, archive: zipfile.ZipFile) -> Policy:
    entries = archive.infolist()
    size = sum(entry.file_size for entry in entries)
    if len(entries) > _MAX_ARRAYS or size > _MAX_BYTES:
        raise ValueError(f"it holds {len(entries)} entries of {size} bytes")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("an entry is compressed")
    about = json.loads(archive.read(_DESCRIPTION))
    if not (
        isinstance(about, dict)
        and isinstance(about.get("agent"), str)
        and isinstance(about.get("hyperparameters"), dict)
        and isinstance(about.get("description"), dict)
    ):
        raise ValueError("its description is not one of a policy")
    weights = {}
    for entry in entries:
        if entry.filename == _DESCRIPTION:
            continue
        weight = _array(archive.read(entry))
        if weight.dtype.kind not in "fiub" or not np.isfinite(weight).all():
            raise ValueError(f"weight {entry.filename!r} has values that are no finite numbers")
        weights[entry.filename.removesuffix(".npy")] = weight
    return Policy(about["agent"], about["hyperparameters"], about["description"], weights)


def _array(content: bytes) -> np.ndarray:
    """The array in a `.npy` file, whose header may claim any size."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"an array has format {version}")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject:
        raise ValueError("an array holds pickled objects")
    if math.prod(shape) * dtype.itemsize != len(content) - stream.tell():
        raise ValueError(f"an array of shape {shape} is cut off")
    array = np.frombuffer(content, dtype, offset=stream.tell())
    return array.reshape(shape, order="F" if is_fortran else "C").copy()


def _words(error: Exception) -> str:
    text = str(error).strip().split("\n")[0]
    return text[:200] if text else type(error).__name__
