"""What a model's results must keep, whatever the design: sums, products and orders."""

import numpy as np

from archgym.errors import SimulatorError

__all__ = ["require_kept"]


def require_kept(
    model: str,
    what: str,
    came: np.ndarray,
    expected: np.ndarray | float,
    *,
    rounding: float = 1e-9,
) -> None:
    """Refuses results that break an invariant of their model.

    Args:
      model: What the model is called in a sentence, such as "DRAM".
      what: The invariant, as words after "must keep that".
      came: (n,), one number a design.
      expected: What it must be: (n,), or one for all designs.
      rounding: How far it may be off, relative to what is expected, or absolute below 1. Sums and
        quotients of a few doubles differ from each other by some 1e-16 of the whole.

    Raises:
      SimulatorError: Names the invariant, the first design that breaks it and by how much.
    """
    off = np.abs(came - expected) > rounding * np.maximum(1.0, np.abs(expected))
    if off.any():
        row = int(np.flatnonzero(off)[0])
        wanted = np.broadcast_to(np.asarray(expected), came.shape)[row].item()
        raise SimulatorError(
            f"The {model} model must keep that {what}; got {came[row].item()!r} instead of "
            f"{wanted!r} in design {row} of {len(came)}. Please report the design and workload."
        )
