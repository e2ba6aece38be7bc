"""Trained policies as files: weights with what is needed to use them, and no code."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import msgspec
import numpy as np

from archgym.errors import FileFormatError
from archgym.files.archive import read_archive, write_archive
from archgym.files.json_types import typed

_DESCRIPTION = "policy.json"
_RESTORE = "Restore it from a copy, or run the study again"


class _About(msgspec.Struct):
    """Members of a policy's description."""

    agent: str
    hyperparameters: dict[str, Any]
    description: dict[str, Any]


@final
@dataclass(frozen=True)
class Policy:
    """Weights of a trained policy with what is needed to use them, without code.

    `agent` names the agent that learned it, with its `hyperparameters`; `description` is JSON of
    the agent's own; `weights` are float or whole numbers by name.

    Example:
      >>> from tempfile import TemporaryDirectory
      >>> policy = Policy("ppo", {"lr": 0.001}, {"layers": 1}, {"bias": np.zeros(2)})
      >>> with TemporaryDirectory() as folder:
      ...     policy.save(f"{folder}/policy.npz")
      ...     Policy.load(f"{folder}/policy.npz").weights["bias"].tolist()
      [0.0, 0.0]
    """

    agent: str
    hyperparameters: Mapping[str, Any]
    description: Mapping[str, Any]
    weights: Mapping[str, np.ndarray]

    def save(self, path: str | Path) -> None:
        """Write one `.npz` file, whole or not at all.

        Raises:
          StorageError: It cannot be written.
        """
        about = {
            "agent": self.agent,
            "hyperparameters": dict(self.hyperparameters),
            "description": dict(self.description),
        }
        write_archive(path, _DESCRIPTION, about, self.weights)

    @classmethod
    def load(cls, path: str | Path) -> "Policy":
        """Read what `save` wrote.

        Raises:
          FileFormatError: The file is damaged or no policy.
          StorageError: It cannot be read.
        """
        header, weights, _ = read_archive(path, _DESCRIPTION, "a policy", _RESTORE)
        try:
            about = typed(header, _About)
        except ValueError as error:
            problem = f"a policy must be what ArchGym wrote; {error}"
            raise FileFormatError(path, None, problem, _RESTORE) from None
        return cls(about.agent, about.hyperparameters, about.description, weights)
