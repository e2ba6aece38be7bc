"""Descriptions of a dataset that hubs read: the card `README.md`, and Croissant metadata."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from archgym.datasets.metadata import About
from archgym.datasets.summary import Tally

if TYPE_CHECKING:
    import pyarrow as pa


CARD_NAME = "README.md"

# chosen: what a person reads through; all of them stand in the metadata.
_MAX_LISTED = 50
_SIZES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
    (10**9, "100M<n<1B"),
)
_READING = """\
## Reading it

```python
import pandas as pd

rows = pd.read_parquet("data")  # all parts; a file in it is one
rows = rows[rows.feasible & ~rows.is_duplicate]
```

Units, parameters, tasks and studies also stand in the metadata of the Parquet files: in each
column's, and as JSON under the key `archgym`. `sha256sum -c SHA256SUMS` checks the files, and
`archgym dataset verify` simulates a sample of rows again.
"""
_COLUMNS = """\
## Columns

A row is one design on one workload. A task of several workloads has a row for each, with equal
`study_id` and `step`; their `reward` is that of the whole task.

| column | type | unit | what |
|---|---|---|---|"""
_LIMITS = """\
- Designs are what search agents asked for: not a uniform sample of the space. Repeated asks within
  a study are left out.
- A parameter that is inactive under another's value has its default.
- Designs that differ just in parameters that do nothing on a workload have equal metrics;
  `archgym dataset split --by design --group outcome` keeps those in one part."""
_TAGS = ("hardware", "computer-architecture", "design-space-exploration", "simulation", "archgym")


def description(about: About, tally: Tally) -> str:
    """Return a description of the dataset in two sentences."""
    workloads = _one_of([w.name for d in about.declarations for w in d.workloads])
    return (
        f"{tally.rows} evaluations of hardware designs by ArchGym's simulator "
        f"{about.simulator!r}, one row each, on {_count(len(workloads), 'workload')}: parameters, "
        f"metrics with units, and who asked for each design. {tally.designs} designs are distinct."
    )


@final
@dataclass(frozen=True)
class DataFile:
    """A data file of a dataset."""

    part: str
    name: str
    """Relative to the dataset's folder."""
    digest: str
    n_bytes: int
    n_rows: int


def card_text(
    about: About, schema: "pa.Schema", tally: Tally, files: Sequence[DataFile], notes: Sequence[str]
) -> str:
    """Return the whole card.

    Args:
      notes: Sentences on damage in what it was made from.
    """
    lines = [
        *_header(about, schema, files),
        f"# {about.name}",
        "",
        description(about, tally),
        f"{tally.feasible} rows are of designs that were built, "
        f"{tally.rows - tally.feasible - tally.failed} of designs that cannot be, {tally.failed} "
        f"of ones on which the simulator broke; {tally.duplicates} repeat the design and workload "
        "of an earlier row (`is_duplicate`).",
        "",
        _READING,
        *_parts(about, tally, files),
        *_tasks(about),
        *_columns(schema),
        *_agents(about, tally),
        *_limits(about, notes),
    ]
    return "\n".join(lines)


# ---- the header


def _header(about: About, schema: "pa.Schema", files: Sequence[DataFile]) -> Iterator[str]:
    """Yield YAML; every text is written as JSON, which YAML reads as it is."""
    n_rows = sum(file.n_rows for file in files)
    size = next((name for limit, name in _SIZES if n_rows < limit), "n>1T")
    yield "---"
    yield f"pretty_name: {_quoted(about.name)}"
    yield f"license: {_quoted(about.license)}"
    yield "task_categories:"
    yield "- tabular-regression"
    yield "tags:"
    yield from (f"- {tag}" for tag in (*_TAGS, _quoted(about.simulator)))
    yield "size_categories:"
    yield f"- {size}"
    yield "configs:"
    yield "- config_name: default"
    yield "  data_files:"
    for file in files:
        yield f"  - split: {file.part}"
        yield f"    path: {file.name}"
    yield "dataset_info:"
    yield "  features:"
    for field in schema:
        yield f"  - name: {_quoted(field.name)}"
        yield f"    {_feature(field.type)}"
    yield "  splits:"
    for file in files:
        yield f"  - name: {file.part}"
        yield f"    num_bytes: {file.n_bytes}"
        yield f"    num_examples: {file.n_rows}"
    yield "---"
    yield ""


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _feature(kind: "pa.DataType") -> str:
    import pyarrow as pa

    if pa.types.is_list(kind):
        return f"sequence: {_dtype(kind.value_type)}"
    return f"dtype: {_dtype(kind)}"


def _dtype(kind: Any) -> str:
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return {"double": "float64"}.get(str(kind), str(kind))


# ---- the text


def _parts(about: About, tally: Tally, files: Sequence[DataFile]) -> Iterator[str]:
    yield "## Parts"
    yield ""
    if about.split is None:
        yield "It is in one part. `archgym dataset split` makes parts that do not leak."
        yield ""
        return
    yield str(about.split["statement"])
    yield ""
    yield "| part | rows | designs | of them in train |"
    yield "|---|---|---|---|"
    for file in files:
        part = tally.parts[file.part]
        shared = "" if file.part == "train" else str(tally.shared("train", file.part))
        yield f"| {file.part} | {part.rows} | {len(part.designs)} | {shared} |"
    yield ""


def _tasks(about: About) -> Iterator[str]:
    yield "## Tasks"
    yield ""
    yield from _listed([f"- `{task['id']}`" for task in about.tasks])
    yield ""
    yield "| space | fidelity | options | version | designs | workload | what characterises it |"
    yield "|---|---|---|---|---|---|---|"
    rows = []
    for d in about.declarations:
        options = ", ".join(f"{name}={value}" for name, value in d.options.items())
        model = f"| {_cell(d.space_name)} | {_cell(d.fidelity)} | {_cell(options)} | {d.version}"
        for workload in d.workloads:
            facts = ", ".join(
                f"{name} {value:.6g} {unit}".strip()
                if isinstance(value, float | int)
                else f"{name} {value}"
                for name, (value, unit) in workload.facts.items()
            )
            rows.append(f"{model} | {d.space.size} | {_cell(workload.name)} | {_cell(facts)} |")
    yield from _listed(rows)
    yield ""


def _columns(schema: "pa.Schema") -> Iterator[str]:
    yield _COLUMNS
    for field in schema:
        facts = {key.decode(): text.decode() for key, text in (field.metadata or {}).items()}
        doc = _cell(facts.get("doc", "").removesuffix("."))
        kind = _feature(field.type).removeprefix("dtype: ")
        yield f"| `{_cell(field.name)}` | {kind} | {_cell(facts.get('unit', ''))} | {doc} |"
    yield ""


def _agents(about: About, tally: Tally) -> Iterator[str]:
    yield "## Studies"
    yield ""
    yield "| study | agent | seed | hyperparameters | task | rows | best reward |"
    yield "|---|---|---|---|---|---|---|"
    rows, seen = [], set()
    for study in about.studies:
        counted = tally.studies.get(str(study["id"]))
        # The segments of a study are counted together.
        is_first = study["id"] not in seen
        seen.add(study["id"])
        n, best = "", ""
        if is_first and counted is not None:
            n, best = str(counted.rows), f"{counted.best_reward:.6g}"
        task = about.task_by_digest.get(str(study["task_digest"]), {}).get("id", "")
        hyperparameters = json.dumps(study.get("hyperparameters") or {}, sort_keys=True)
        seed = study.get("seed")
        rows.append(
            f"| {_cell(str(study['folder']))} | {_cell(str(study.get('agent') or '-'))} "
            f"| {'-' if seed is None else seed} | `{_cell(hyperparameters)}` | {_cell(str(task))} "
            f"| {n} | {best} |"
        )
    yield from _listed(rows)
    yield ""


def _limits(about: About, notes: Sequence[str]) -> Iterator[str]:
    versions = _one_of([str(s.get("versions", {}).get("archgym", "?")) for s in about.studies])
    yield "## What to know"
    yield ""
    yield f"- Journaled by ArchGym {', '.join(versions)}. Numbers are the simulator's."
    yield _LIMITS
    yield from (f"- Damaged before it was taken: {' '.join(note.split())}" for note in notes)
    yield ""


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _listed(rows: list[str]) -> Iterator[str]:
    yield from rows[:_MAX_LISTED]
    if len(rows) > _MAX_LISTED:
        yield ""
        yield f"And {len(rows) - _MAX_LISTED} more, which stand in the metadata."


def _one_of(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


CROISSANT_NAME = "croissant.json"

_CONFORMS_TO = [
    "http://mlcommons.org/croissant/1.1",
    "http://mlcommons.org/croissant/RAI/1.0",
]
_PLAIN_TERMS = (
    "citeAs column equivalentProperty extract field fileProperty fileObject fileSet format includes"
    " isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace"
    " samplingRate separator source subField transform"
)
_SPDX = "https://spdx.org/licenses/"


def croissant_text(
    about: About, schema: "pa.Schema", files: list[DataFile], description: str
) -> str:
    """Return content of `croissant.json`: each file with its digest, each column of each part.

    Source:
      The Croissant format specification 1.1 and its vocabulary of responsible AI (RAI) 1.0,
      MLCommons.
    """
    data = {
        "@context": _context(),
        "@type": "sc:Dataset",
        "name": about.name,
        "description": description,
        "conformsTo": _CONFORMS_TO,
        "license": _license(about.license),
        "citeAs": _citation(about),
        "url": ".",
        "datePublished": _date(about),
        "version": f"{about.declarations[0].version}.0.0",
        **_responsible(about),
        "distribution": [_distribution(file) for file in files],
        "recordSet": [_record_set(file, schema) for file in files],
    }
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def _responsible(about: About) -> Mapping[str, Any]:
    """Return how the data came about and what they are not fit for."""
    dates = [str(study.get("created", ""))[:10] for study in about.studies]
    agents = sorted({str(study.get("agent") or "an environment") for study in about.studies})
    split = "none" if about.split is None else json.dumps(dict(about.split), sort_keys=True)
    found = {
        "dataCollection": f"Designs were proposed by {', '.join(agents)}, and evaluated by "
        f"ArchGym's simulator {about.simulator}. Each row is one evaluation of one design.",
        "dataCollectionType": ["Simulation"],
        "dataCollectionTimeFrame": sorted({dates[0], *dates}),
        "dataCollectionMissingData": "Metrics of a design that cannot be built are missing; its "
        "reason is given.",
        "dataPreprocessingProtocol": [f"Split into parts: {split}.", "No value was changed."],
        "dataBiases": "Agents ask for good designs more often than for others, so that rows are no "
        "uniform sample of the space.",
        "dataLimitations": "Metrics are those of a simulator; its README states how far they are "
        "from hardware. They hold for the tasks that are listed, not for other workloads.",
        "dataUseCases": ["Training and testing of proxies", "Comparison of search methods"],
        "personalSensitiveInformation": ["None"],
    }
    return {f"rai:{name}": value for name, value in found.items()}


def _date(about: About) -> str:
    return max(str(study.get("created", "")) for study in about.studies)[:10]


def _citation(about: About) -> str:
    """Return a BibTeX entry; author and place of publication are unknown."""
    key = re.sub(r"[^A-Za-z0-9]+", "-", about.name).strip("-") or "evaluations"
    # Braces would end the entry early, and a backslash begin a command.
    title = re.sub(r"[{}\\]", " ", about.name)
    note = f"Evaluations of hardware designs by ArchGym's simulator {about.simulator}"
    return f"@misc{{{key}, title={{{title}}}, year={{{_date(about)[:4]}}}, note={{{note}}}}}"


def _license(name: str) -> str:
    # A word that is no SPDX identifier, such as "unknown", stands for itself.
    return _SPDX + name if "-" in name and "/" not in name else name


def _context() -> Mapping[str, Any]:
    context: dict[str, Any] = {"@language": "en", "@vocab": "https://schema.org/"}
    context |= {term: f"cr:{term}" for term in _PLAIN_TERMS.split()}
    context |= {name: {"@id": f"cr:{name}", "@type": "@json"} for name in ("data", "examples")}
    context["dataType"] = {"@id": "cr:dataType", "@type": "@vocab"}
    context |= {"cr": "http://mlcommons.org/croissant/", "sc": "https://schema.org/"}
    context |= {"dct": "http://purl.org/dc/terms/", "conformsTo": "dct:conformsTo"}
    context["rai"] = "http://mlcommons.org/croissant/RAI/"
    return context


def _distribution(file: DataFile) -> Mapping[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": file.name,
        "name": file.name,
        "contentUrl": file.name,
        "contentSize": f"{file.n_bytes} B",
        "encodingFormat": "application/x-parquet",
        "sha256": file.digest,
    }


def _record_set(file: DataFile, schema: "pa.Schema") -> Mapping[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": file.part,
        "name": file.part,
        "description": f"{file.n_rows} evaluations, one record each.",
        "field": [_field(file, field) for field in schema],
    }


def _field(file: DataFile, field: "pa.Field") -> Mapping[str, Any]:
    facts = {key.decode(): text.decode() for key, text in (field.metadata or {}).items()}
    unit = f" Unit: {facts['unit']}." if facts.get("unit") not in (None, "", "1") else ""
    described: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{file.part}/{field.name}",
        "name": field.name,
        "description": (facts.get("doc") or field.name).removesuffix(".") + "." + unit,
        "dataType": _data_type(field.type),
        "source": {"fileObject": {"@id": file.name}, "extract": {"column": field.name}},
    }
    if _is_list(field.type):
        described |= {"cr:isArray": True, "cr:arrayShape": "-1"}
    return described


def _is_list(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind))


def _data_type(kind: "pa.DataType") -> str:
    import pyarrow as pa

    kind = kind.value_type if _is_list(kind) or pa.types.is_dictionary(kind) else kind
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    return "sc:Float" if pa.types.is_floating(kind) else "sc:Text"
