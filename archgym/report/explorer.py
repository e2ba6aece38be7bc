"""Evaluations as columns that a page carries: what its reader chooses designs from."""

import base64
import zlib
from typing import Any

import numpy as np

from archgym.report.evidence import TaskEvidence

# chosen: smooth on a phone, and a megabyte or two in the file.
_MOST = 100_000
_MAX_AXES = 4
# chosen: a value's text in the page.
_MAX_TEXT = 60


def explorer(task: TaskEvidence, name: str, n_tasks: int) -> tuple[dict[str, Any], str]:
    """Return the data that a page needs of a task's evaluations.

    Args:
      task: The task; designs that were not built are left out.
      name: Name of the element.
      n_tasks: Tasks that share the page.

    Returns:
      Names, values and the front as JSON; columns of float32 and uint32, deflated, in base64.
    """
    reward, values = task.stacked("reward"), task.stacked("values")
    indices = task.stacked("indices")
    built = np.flatnonzero(np.isfinite(reward))
    best = task.front_rows
    rows = _sampled(reward, built, best, max(1000, _MOST // n_tasks))
    names = [term.metric for term in task.objective.terms]
    names += [spec.name for spec in task.metrics if spec.goal != "none"]
    names = list(dict.fromkeys(names))[:_MAX_AXES]
    places = [[spec.name for spec in task.metrics].index(metric) for metric in names]
    units = {spec.name: spec.unit for spec in task.metrics}
    # The default design is the last row, for B to begin with.
    numbers = [np.append(values[rows, place], task.reference[place]) for place in places]
    numbers.append(np.append(reward[rows], task.default_reward))
    designs = np.vstack([indices[rows], task.space.default_indices[None, :]])
    parameters, codes = [], []
    for place, parameter in enumerate(task.space.parameters):
        used, code = np.unique(designs[:, place], return_inverse=True)
        texts = [str(parameter.value(int(index)))[:_MAX_TEXT] for index in used]
        parameters.append({"name": parameter.name, "values": texts})
        codes.append(code.astype("<u4"))
    order = {row: place for place, row in enumerate(rows.tolist())}
    data = b"".join([*(c.astype("<f4").tobytes() for c in numbers), *(c.tobytes() for c in codes)])
    about = {
        "id": name,
        "n": len(rows) + 1,
        "total": len(built) + 1,
        "reference": len(rows),
        "best": int(np.argmax(reward[rows])) if len(rows) else 0,
        "axes": [f"{m} [{units[m]}]" if units[m] else m for m in names] + ["reward"],
        "parameters": parameters,
        "front": [order[row] for row in best.tolist() if row in order],
    }
    return about, base64.b64encode(zlib.compress(data, 6)).decode()


def _sampled(reward: np.ndarray, built: np.ndarray, best: np.ndarray, most: int) -> np.ndarray:
    if len(built) <= most:
        return built
    # The best design is on the front, though another of its terms may stand for it there.
    best = np.union1d(best[: most - 1], built[[np.argmax(reward[built])]])
    rest = built[~np.isin(built, best)]
    n = max(0, most - len(best))
    drawn = np.random.default_rng(0).choice(rest, size=min(n, len(rest)), replace=False)
    return np.sort(np.concatenate([best, drawn]))
