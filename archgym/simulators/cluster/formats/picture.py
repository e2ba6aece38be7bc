"""A picture of what each stage does over time."""

from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.figure import Figure

from archgym.errors import InvalidArgumentError
from archgym.files.replacement import figure_metadata
from archgym.files.storage import atomic_file
from archgym.simulators.cluster.kernel import state
from archgym.simulators.cluster.machine import Built, spans

_ENDINGS: Final = (".svg", ".png", ".pdf")
# Okabe and Ito, *Color Universal Design*, 2008.
_COLOURS: Final = ("#D55E00", "#CC79A7", "#009E73", "#56B4E9")
_COMPUTE: Final = "#555555"
_CAUSES: Final = ("tensor", "expert", "data", "pipeline")
# chosen: more bars than this are only ink.
_MAX_BARS: Final = 6000
_MAX_SHOWN: Final = 16


def _save(figure: Figure, path: str | Path) -> None:
    path = Path(path)
    if path.suffix not in _ENDINGS:
        raise InvalidArgumentError(
            f"A picture's `path` must end in {', '.join(_ENDINGS)}; got {path.name!r}."
        )
    # No date and no random names inside, so that the file depends on the design alone.
    metadata = figure_metadata(path)
    with mpl.rc_context({"svg.hashsalt": "archgym"}), atomic_file(path) as scratch:
        figure.savefig(scratch, format=path.suffix[1:], metadata=metadata, dpi=120)


def draw_timeline(built: Built, path: str | Path) -> None:
    """Draw computing and communication of one NPU for each stage.

    Args:
      built: A design that can run.
      path: Ends in .svg, .png or .pdf.
    """
    rows = spans(built)
    all_stages = sorted({npu for npu, *_ in rows})
    stages = all_stages[:_MAX_SHOWN]
    figure = Figure(figsize=(10.0, 1.4 + 0.7 * len(stages)), layout="constrained")
    axes = figure.subplots()
    place = {npu: at for at, npu in enumerate(stages)}
    of_stages = [row for row in rows if row[0] in place]
    shown = of_stages[:_MAX_BARS]
    for npu, kind, cause, begin, end in shown:
        is_compute = kind == state.COMPUTE
        if kind == state.RECEIVE:
            continue
        axes.broken_barh(
            [(begin / 1e6, (end - begin) / 1e6)],
            (place[npu] - (0.4 if is_compute else 0.0), 0.4),
            facecolors=_COMPUTE if is_compute else _COLOURS[cause],
        )
    axes.set_yticks(range(len(stages)), [f"stage {at}" for at in range(len(stages))])
    axes.invert_yaxis()
    axes.set_xlabel("time [ms]")
    names = ("compute", *_CAUSES)
    for name, colour in zip(names, (_COMPUTE, *_COLOURS), strict=True):
        axes.plot([], [], color=colour, linewidth=6, label=name)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=5, frameon=False)
    left_out = []
    if len(stages) < len(all_stages):
        left_out.append(f"the first {len(stages)} of {len(all_stages)} stages")
    if len(shown) < len(of_stages):
        left_out.append(f"the first {len(shown):,} of {len(of_stages):,} spans")
    if left_out:
        axes.set_title(", ".join(left_out), fontsize="small")
    _save(figure, path)
