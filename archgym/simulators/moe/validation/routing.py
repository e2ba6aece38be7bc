"""Row V4: what the routing generator gives, against published curves of real models."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from archgym.simulators.moe.calibrate import DOCUMENT_TOKENS, measure, target
from archgym.simulators.moe.routing import generate, routing_preset, routing_preset_names
from archgym.simulators.moe.validation.row import Progress, Row, read_json, read_table, reading

__all__ = ["FITTED", "routing_rows"]

FITTED: Final = ("lru@1", "lru@2", "lru@3", "belady@1", "belady@2", "belady@3", "srp@16")
"""Targets that the presets were fitted to."""
# Targets that no constant was fitted to, as the published table names them.
_PREDICTED: Final = {
    "lfu@2": ("LFU", "", 2.0),
    "sch4@2": ("SCH", "4", 2.0),
    "sch16@2": ("SCH", "16", 2.0),
}
_CONSTANTS: Final = ("skew", "topic", "persistence")
# One number for all models was chosen so that LFU comes out; it hardly matters to SCH.
_SHARED: Final = ("topic_tokens, shared by all models",)
# chosen: seeds that no preset was fitted on, and as many documents as tell half a point.
_SEEDS: Final = (101, 102)
_DOCUMENTS: Final = 12
_LAYERS: Final = 4
# RMSE [points]: Phi and GRIN were allowed 5 for a generator of one layer.
_TOLERANCE: Final = 2.5
_TOLERANCES: Final = {"phi-3.5-moe": 5.0, "grin-moe": 5.0}
_PREDICTION_TOLERANCE: Final = 6.0


def routing_rows(reference: Path, progress: Progress) -> list[Row]:
    """Return V4: per preset, the misfit of what was fitted, and what was not fitted."""
    path = reference / "published" / "generator_calibration.json"
    with reading(path):
        calibration = {name.lower(): case for name, case in read_json(path).items()}
    table = reference / "published" / "hit_rates.csv"
    with reading(table):
        published = {
            (
                row["model"].lower(),
                row["policy"],
                row["seg_len_m"],
                float(row["rho_cache_over_topk"]),
            ): float(row["hit_rate"])
            for row in read_table(table)
        }
    rows: list[Row] = []
    for name in routing_preset_names():
        if name in calibration:
            progress(f"V4: routing of {name}")
            with reading(path):
                wanted = calibration[name]["target_LRU123_Bel123_SRP16"]
                values = dict(zip(FITTED, map(float, wanted), strict=True))
            known = {
                item: published[name, *key]
                for item, key in _PREDICTED.items()
                if (name, *key) in published
            }
            rows += _preset_rows(name, values, known)
    return rows


def _preset_rows(name: str, fitted: Mapping[str, float], held: Mapping[str, float]) -> list[Row]:
    preset = routing_preset(name)
    targets = [target(item) for item in (*fitted, *held)]
    lengths = [DOCUMENT_TOKENS] * _DOCUMENTS
    given = np.mean(
        [measure(generate(preset, seed, lengths, _LAYERS), targets) for seed in _SEEDS], axis=0
    )
    ours = dict(zip((*fitted, *held), map(float, given), strict=True))
    errors = np.array([ours[item] - value for item, value in fitted.items()])
    rows = [
        Row(
            "V4",
            f"{name}: LRU and Belady at room 1, 2, 3 and SRP of 16 tokens; means are shown",
            100.0 * float(np.mean(list(fitted.values()))),
            100.0 * float(np.mean([ours[item] for item in fitted])),
            "%",
            100.0 * float(np.sqrt(np.mean(errors**2))),
            _TOLERANCES.get(name, _TOLERANCE),
            "points RMSE",
            _CONSTANTS,
        )
    ]
    for item, value in held.items():
        rows.append(
            Row(
                "V4",
                f"{name}: {item}, to which nothing of the model was fitted",
                100.0 * value,
                100.0 * ours[item],
                "%",
                100.0 * abs(ours[item] - value),
                _PREDICTION_TOLERANCE,
                "points",
                _SHARED if item.startswith("lfu") else (),
            )
        )
    return rows
