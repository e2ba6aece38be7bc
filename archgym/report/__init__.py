"""Reports: results of studies and sweeps as one self-contained page, and as tables."""

from typing import TYPE_CHECKING

from archgym.runtime.importing import names_on_first_use

if TYPE_CHECKING:
    from archgym.report.evidence import Evidence, RunEvidence, TaskEvidence, read_evidence
    from archgym.report.findings import Findings, find
    from archgym.report.quantities import Table
    from archgym.report.verdict import Protocol

# Modules of the public names, imported on first use: the command line's help needs none of them.
_HOMES = {
    "Evidence": "evidence",
    "Findings": "findings",
    "Protocol": "verdict",
    "RunEvidence": "evidence",
    "Table": "quantities",
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


__getattr__ = names_on_first_use(__name__, _HOMES)
