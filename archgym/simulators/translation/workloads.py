"""Workloads of the translation simulator: recorded programs, generated ones, and users' files.

Recorded ones ship with `archgym.traces`. Generated ones have footprints of 4 GB, which recording
cannot reach: their page tables no longer fit the caches.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final, final

import numpy as np

from archgym.errors import FileFormatError, unknown_name
from archgym.traces import MemoryTrace

__all__ = ["DEFAULT_WORKLOAD", "TraceContent", "load", "names", "trace_digest"]

DEFAULT_WORKLOAD: Final = "kmer-count"
