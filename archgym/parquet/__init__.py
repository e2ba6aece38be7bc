"""Parquet files of unknown origin, read in bounded memory or refused in one line."""

from archgym.parquet.file import MAX_BATCH, ParquetFile, parquet_errors, read_metadata

__all__ = ["MAX_BATCH", "ParquetFile", "parquet_errors", "read_metadata"]
