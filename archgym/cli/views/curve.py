"""Best-so-far curve drawn as text."""

import sys
from typing import TYPE_CHECKING

from archgym.cli.console.terminal import number
from archgym.report.curves import span

if TYPE_CHECKING:
    import numpy as np


def text_curve(values: "np.ndarray", width: int, height: int) -> list[str]:
    """Return a curve as lines of text, filled below; empty without values.

    Args:
      values: (n,), NaN before the first value.
      width: Columns of the curve, without its axis.
      height: Lines of the curve, without its axis.
    """
    import numpy as np

    if not np.isfinite(values).any() or width < 8:
        return []
    width = min(width, max(8, len(values)))
    shown = values[np.linspace(0, len(values) - 1, width).round().astype(int)]
    low, high = span(values)
    label_high = number(high) if np.nanmax(values) <= high else f"≥ {number(high)}"
    label_low = number(low) if np.nanmin(values) >= low else f"≤ {number(low)}"
    reach = high - low if high > low else 1.0
    shown = np.clip(shown, low, high)
    steps = " ▁▂▃▄▅▆▇█" if _is_unicode() else " #"
    fine = len(steps) - 1
    # At least one eighth, so that the lowest value is visible.
    filled = np.where(np.isfinite(shown), 1 + (shown - low) / reach * (height * fine - 1), 0)
    lines = []
    for row in reversed(range(height)):
        parts = np.clip(np.nan_to_num(filled) - row * fine, 0, fine).round().astype(int)
        label = label_high if row == height - 1 else label_low if row == 0 else ""
        lines.append(f"{label:>12} |" + "".join(steps[part] for part in parts).rstrip())
    lines.append(f"{'':>12} 1{len(values):>{width - 1}}")
    return lines


def _is_unicode() -> bool:
    return (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
