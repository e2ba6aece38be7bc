"""Generation of the recorded accuracy, for intended changes of the model.

`python -m evidence.translation.accuracy DIR` writes `data/golden.csv`,
`data/accuracy.json` and the table of the simulator's README, from the reference results in DIR.
"""

import sys
from pathlib import Path
from typing import Final

from archgym.files.storage import write_atomic
from evidence.translation.reference import (
    Line,
    expected_text,
    golden_rows,
    golden_text,
    markdown,
    validate,
)
from evidence.validation import Validation

_FOLDER: Final = Path(__file__).parent
_README: Final = _FOLDER.parents[1] / "archgym" / "simulators" / "translation" / "README.md"
_BEGIN: Final = "<!-- accuracy: "
_END: Final = "<!-- end of accuracy -->"


def write(reference: Path) -> Validation[Line]:
    """Write golden rows, recorded accuracy and the README's table; see `validate`."""
    write_atomic(_FOLDER / "data" / "golden.csv", golden_text(golden_rows()).encode())
    found = validate(reference)
    write_atomic(_FOLDER / "data" / "accuracy.json", expected_text(found).encode())
    write_atomic(_README, with_table(_README.read_text("utf-8"), markdown(found)).encode())
    return found


def with_table(readme: str, table: str) -> str:
    """Return a README with another table of accuracy."""
    before, rest = readme.split(_BEGIN, 1)
    heading, rest = rest.split("\n", 1)
    return f"{before}{_BEGIN}{heading}\n\n{table}\n{_END}{rest.split(_END, 1)[1]}"


if __name__ == "__main__":
    write(Path(sys.argv[1]))
