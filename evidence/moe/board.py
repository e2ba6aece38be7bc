"""Table of measured serving rows that ships for `archgym bench accuracy`.

    python -m evidence.moe.board REFERENCE

It takes the rows that are fit to judge: none that is suspect, drafts tokens or belongs to a sealed
group of `evidence.moe.bars`.
"""

import csv
import io
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from archgym.bench.accuracy import ANSWERS, QUESTION_COLUMNS, TABLE
from evidence.moe.bars import SAME, SEALED
from evidence.moe.measured import find_model, known_models
from evidence.moe.row import read_table

_ADDRESS: Final = re.compile(r"https://github\.com/(\S+) .*?([^/ ]+) (?:line \d+ )?@(\w+)")
# Releases of SGLang whose first requests compile, so that means of TTFT are seconds too long.
_COMPILING: Final = re.compile(r"v?0\.5\.[567]\b")
_COPIED: Final = {
    "model": "model", "gpu": "gpu", "gpus": "gpus", "tensor": "tp", "data": "dp", "expert": "ep",
    "engine": "engine", "release": "engine_version", "precision": "precision",
    "prompt_tokens": "isl", "output_tokens": "osl", "shortest": "random_range_ratio",
    "prompt_mean": "in_mean", "output_mean": "out_mean", "clients": "conc",
    "requests": "requests", "campaign": "src", "date": "date", "tpot_mean_ms": "tpot_mean_ms",
    "tpot_median_ms": "tpot_median_ms", "ttft_mean_ms": "ttft_mean_ms",
    "ttft_median_ms": "ttft_median_ms", "output_per_s_gpu": "out_tok_s_gpu",
}  # fmt: skip


def board_table(reference: Path) -> str:
    """Return the table as CSV, one row a measurement.

    Args:
      reference: Folder of the reference of `moe`.

    Raises:
      FileFormatError: A file is something else.
    """
    rows = read_table(reference / "measured" / "serving.csv")
    rows += read_table(reference / "further" / "serving_more.csv")
    architecture = _architectures(reference, [cells["model"] for cells in rows])
    text = io.StringIO()
    columns = ["id", *QUESTION_COLUMNS, *ANSWERS, "source"]
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    for cells in rows:
        is_more = cells["src"] == "sgl-cookbook"
        is_sealed = is_more and any(cells[key] in names for key, names in SEALED.items())
        if cells["suspect"] or is_sealed or not cells["spec_decoding"].startswith("none"):
            continue
        made = {name: cells.get(column, "") for name, column in _COPIED.items()}
        made |= {"architecture": architecture[cells["model"]], "ttft": _asked(cells)}
        found = _ADDRESS.match(cells["source"])
        assert found is not None, cells["source"]
        made["source"] = f"{found[1]}@{found[3]} {found[2]} {cells['id_src']}"
        # Ids count on from the source's own order, so that more rows at the end change none.
        table.writerow({"id": f"m{text.getvalue().count(chr(10)):04}", **made})
    return text.getvalue()


def _asked(cells: Mapping[str, str]) -> str:
    """Return which time to the first token is asked: mean, median, or "" for neither."""
    note = cells.get("ttft_note", "")
    if "prefix cache" in note:
        return ""
    names_none = cells["engine"] == "sglang" and not cells["engine_version"]
    compiles = names_none or _COMPILING.search(cells["engine_version"]) or "compilation" in note
    if cells["ttft_median_ms"] and (compiles or not cells["ttft_mean_ms"]):
        return "median"
    return "" if compiles or not cells["ttft_mean_ms"] else "mean"


def _architectures(reference: Path, models: Sequence[str]) -> dict[str, str]:
    """Return for each model the commonest name of those with the same dimensions."""
    others = known_models(reference)
    first: dict[object, str] = {}
    found = {}
    for name, _ in Counter(models).most_common():
        key: object = name
        # A model that ArchGym has not is known by its name alone.
        with suppress(ValueError):
            key = replace(find_model(SAME.get(name, name), others), name="", source="")
        found[name] = first.setdefault(key, name.lower())
    return found


def main() -> None:
    """Write the file that ships."""
    folder = Path(sys.argv[1])
    folder = folder / "moe" if (folder / "moe").is_dir() else folder
    TABLE.write_text(board_table(folder), encoding="utf-8")


if __name__ == "__main__":
    main()
