"""Time of single steps of a serving engine, for simulators that schedule requests themselves."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from archgym.simulators.moe.kernel.state import N_CONTENTS, State


class StepCosts(NamedTuple):
    """Arguments of `kernel.steps.step_ns` for a deployment, which other kernels may call.

    `MoeSimulator.step_costs` makes them.

    Example:
      >>> from archgym.simulators.moe import MoeSimulator
      >>> served = MoeSimulator(
      ...     "closed-loop", hardware="rtx-4090", model="llama-3.1-8b", precision="bf16"
      ... )
      >>> costs = served.step_costs({"tensor": 1, "kv_bits": 16})
      >>> step = step_contents(prefills=[(0, 512)], decodes=[1000, 2000])
      >>> bool(10e6 < costs.times_ns(step[None])[0] < 100e6)
      True

    Attributes:
      costs: (len(COSTS),) float64.
      choices: (len(CHOICES),) int64.
      table: (N_ROWS, n) float64, experts that tokens of a step use; of length 1 for dense models.
      state: Scratch.
      counters: (len(COUNTERS),) float64, scratch.
      kv_bytes: Size of the keys and values of a token on one accelerator [bytes].
      max_context: Tokens whose keys and values fit, over all groups.
    """

    costs: npt.NDArray[np.float64]
    choices: npt.NDArray[np.int64]
    table: npt.NDArray[np.float64]
    state: State
    counters: npt.NDArray[np.float64]
    kv_bytes: float
    max_context: int

    def times_ns(self, contents: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the times of steps with these contents.

        Args:
          contents: (n, N_CONTENTS), each row of `step_contents`.

        Returns:
          (n,) [ns].
        """
        # Not above: kernels are compiled when they are imported.
        from archgym.simulators.moe.kernel.steps import step_times

        n = len(contents)
        times = np.zeros(n)
        step_times(
            np.tile(self.costs, (n, 1)), np.tile(self.choices, (n, 1)), self.state,
            self.table[None], np.zeros(n, dtype=np.int64), self.counters,
            np.ascontiguousarray(contents, dtype=np.float64), times,
        )  # fmt: skip
        return times


def step_contents(prefills: list[tuple[int, int]], decodes: list[int]) -> npt.NDArray[np.float64]:
    """Return the contents of a step as `step_ns` takes them, (N_CONTENTS,).

    Args:
      prefills: For each prompt its tokens that are cached or were read before, and the tokens that
        this step reads; the last prompt token of each lies in this step.
      decodes: For each sequence the tokens of context that its new token reads, itself included.
    """
    contents = np.zeros(N_CONTENTS)
    read = np.array(prefills, dtype=np.float64).reshape(-1, 2)
    before, count = read[:, 0], read[:, 1]
    context = float(sum(decodes))
    contents[:] = (
        len(decodes), len(decodes), context, context, count.sum(), len(read),
        (before + count).sum(), (count * before + 0.5 * count * (count + 1.0)).sum(),
        len(decodes) + len(read),
    )  # fmt: skip
    return contents
