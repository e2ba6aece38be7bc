"""Croissant metadata: the JSON-LD by which dataset search engines and loaders know a dataset.

Source: the Croissant format specification 1.1 and its vocabulary of responsible AI (RAI) 1.0,
MLCommons.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from archgym.datasets.metadata import About

if TYPE_CHECKING:
    import pyarrow as pa

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


def croissant_text(
    about: About, schema: "pa.Schema", files: list[DataFile], description: str
) -> str:
    """Return content of `croissant.json`: each file with its digest, each column of each part."""
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
