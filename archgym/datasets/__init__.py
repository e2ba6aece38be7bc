"""Datasets made of logged evaluations."""

from archgym.datasets.dataset import Dataset, read_dataset
from archgym.datasets.split import Split
from archgym.datasets.summary import MetricRange, Summary, summarise_dataset
from archgym.datasets.verification import Verification, verify_dataset
from archgym.datasets.writing import (
    Written,
    build_dataset,
    merge_datasets,
    split_dataset,
    to_frame,
    to_table,
)

__all__ = [
    "Dataset",
    "MetricRange",
    "Split",
    "Summary",
    "Verification",
    "Written",
    "build_dataset",
    "merge_datasets",
    "read_dataset",
    "split_dataset",
    "summarise_dataset",
    "to_frame",
    "to_table",
    "verify_dataset",
]
