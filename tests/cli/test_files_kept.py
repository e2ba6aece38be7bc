"""Files that a command writes: one of somebody else's is never replaced."""

import re
from pathlib import Path

import pytest

from tests.cli.conftest import Archgym
from tests.cli.test_help import COMMANDS
from tests.cli.test_sweep import PLAN

WRITERS = {
    "bench accuracy questions --out": "",
    "bench accuracy run --out": "true",
    "bench run --out": "random --task soc-cava-cost",
    "bench serve --out": "soc-cava-cost",
    "codesign --out": "cpu+dram",
    "control compare --picture": "best-static",
    "control train --out": "dram-locality",
    "dataset build --out": "study",
    "dataset merge --out": "study-data",
    "dataset split --out": "study-data --by design",
    "export --out": "study --as json",
    "kv analyse --out": "agents",
    "kv memory --out": "llama-3.1-8b",
    "kv try --out": "agents",
    "map --out": "resnet-18/fc --tries 10",
    "portfolio --out": "study",
    "proxy train --out": "study",
    "report --csv": "study",
    "report --json": "study",
    "report --out": "study",
    "search --out": "plugin",
    "show --plot": "study",
    "simplify --out": "study",
    "sweep run --out": "plan.yaml",
    "table build --out": "plugin",
    "trace export --out": "sort",
    "trace filter --out": "gemm",
    "trace info --picture": "gemm",
    "trace record --out": "true",
    "workload import --out": "model.onnx",
}
ENDINGS = {"--plot": ".png", "--picture": ".png", "--csv": "", "--json": ".json"}
OUT_ENDINGS = {
    "control train": ".npz",
    "export": ".json", "kv analyse": ".png", "kv memory": ".png", "kv try": ".png",
    "map": ".json", "portfolio": ".json", "proxy train": ".npz", "report": ".html",
    "simplify": ".json", "table build": ".parquet", "trace filter": ".stl",
    "trace record": ".npz", "workload import": ".csv",
}  # fmt: skip


def test_every_option_that_writes_a_file_is_tried_here() -> None:
    found = {
        f"{command} {parameter.opts[0]}"
        for command, declared in COMMANDS.items()
        for parameter in declared.params
        if parameter.opts[0] in ("--out", "--plot", "--picture", "--csv")
        or re.match(r"(Write|Draw)\b.* (to )?this \S*\s?file", parameter.help or "")
    }

    assert found == set(WRITERS)


@pytest.mark.parametrize("writer", WRITERS)
def test_file_of_somebody_else_is_refused(archgym: Archgym, writer: str) -> None:
    command, option = writer.rsplit(" ", 1)
    if "study" in WRITERS[writer]:
        archgym("search", "plugin", "--budget", "12", "--agent", "random", "--out", "study")
    if "study-data" in WRITERS[writer]:
        archgym("dataset", "build", "study", "--out", "study-data")
    Path("plan.yaml").write_text(PLAN)
    target = Path(f"precious{ENDINGS.get(option, OUT_ENDINGS.get(command, ''))}")
    target.write_text("precious")

    ran = archgym(*command.split(), option, str(target), *WRITERS[writer].split())

    assert ran.code != 0
    assert str(target) in ran.err
    assert target.read_text() == "precious"
