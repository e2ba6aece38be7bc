"""Reports: results of studies and sweeps as one self-contained page, and as tables."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archgym.report.evidence import Evidence, RunEvidence, TaskEvidence, read_evidence
    from archgym.report.findings import Findings, find
    from archgym.report.protocol import Protocol
    from archgym.report.table import Table

# Modules of the public names, imported on first use: the command line's help needs none of them.
_HOMES = {
    "Evidence": "evidence",
    "Findings": "findings",
    "Protocol": "protocol",
    "RunEvidence": "evidence",
    "Table": "table",
    "TaskEvidence": "evidence",
    "find": "findings",
    "read_evidence": "evidence",
}

__all__ = [
    "Evidence",
    "Findings",
    "Protocol",
    "RunEvidence",
    "Table",
    "TaskEvidence",
    "find",
    "read_evidence",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'archgym.report' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"archgym.report.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
