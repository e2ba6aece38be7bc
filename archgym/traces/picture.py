"""A memory trace as a picture: misses by reach, heat of pages, working set over time."""

from pathlib import Path

from archgym.files.replacement import figure_metadata
from archgym.files.storage import atomic_file
from archgym.traces.analysis import Analysis

# chosen: entries of common second-level buffers, for orientation.
_REACHES = (64, 1536)


def draw_analysis(found: Analysis, title: str, path: Path) -> None:
    """Draw the three side by side, to a file that ends in .svg, .png or .pdf.

    Raises:
      StorageError: The file cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # A fixed salt and no date: the same trace gives the same bytes.
    with mpl.rc_context({"svg.hashsalt": "archgym", "font.size": 9}):
        figure = Figure(figsize=(10.5, 3.4), layout="constrained")
        misses, heat, working_set = figure.subplots(1, 3)
        misses.step(found.entries, 100 * found.miss_share, where="post")
        for entries in _REACHES:
            misses.axvline(entries, color="0.6", linewidth=0.8, linestyle=":")
            misses.annotate(f"{entries}", (entries, 97), fontsize=7, color="0.4", ha="left")
        misses.set_xscale("log", base=2)
        misses.set_xlim(1, max(2, 2 * found.pages))
        misses.set_ylim(0, 100)
        misses.set_xlabel("pages of 4 KiB that are held (LRU)")
        misses.set_ylabel("accesses that miss [%]")
        misses.set_title("reuse distance", fontsize=9)
        heat.plot(100 * found.hot_pages, 100 * found.hot_accesses)
        heat.set_xscale("log")
        heat.set_ylim(0, 100)
        heat.set_xlabel("pages, the most used first [%]")
        heat.set_ylabel("accesses to them [%]")
        heat.set_title("page heat", fontsize=9)
        times = [i * found.window_instructions / 1e6 for i in range(len(found.window_pages))]
        working_set.step(times, found.window_pages, where="post", label="used")
        working_set.step(times, found.new_pages, where="post", label="used first", linewidth=1)
        working_set.set_ylim(0, None)
        working_set.set_xlabel("instructions [million]")
        working_set.set_ylabel(f"pages in {found.window_instructions:,} instructions")
        working_set.set_title("working set", fontsize=9)
        working_set.legend(frameon=False)
        for axes in (misses, heat, working_set):
            axes.grid(alpha=0.3)
        figure.suptitle(title, fontsize=10)
        kind = path.suffix.removeprefix(".")
        metadata = figure_metadata(path)
        with atomic_file(path) as scratch:
            figure.savefig(scratch, format=kind, dpi=130, metadata=metadata)
