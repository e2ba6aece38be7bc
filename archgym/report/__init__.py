"""Reports: what studies and sweeps show, as one page that needs no network, and as tables."""

from archgym.report.evidence import Evidence, RunEvidence, TaskEvidence, read_evidence
from archgym.report.findings import Findings, find
from archgym.report.page import page
from archgym.report.protocol import Protocol
from archgym.report.table import Table

__all__ = [
    "Evidence",
    "Findings",
    "Protocol",
    "RunEvidence",
    "Table",
    "TaskEvidence",
    "find",
    "page",
    "read_evidence",
]
