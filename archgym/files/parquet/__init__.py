"""Parquet files of unknown origin, read in bounded memory or refused in one line."""

from archgym.files.parquet.file import (
    MAX_BATCH,
    ParquetFile,
    parameter_type,
    parquet_errors,
    read_metadata,
    word_type,
)

__all__ = [
    "MAX_BATCH",
    "ParquetFile",
    "parameter_type",
    "parquet_errors",
    "read_metadata",
    "word_type",
]
