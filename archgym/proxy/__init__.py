"""Proxy cost models: fitted on a dataset, used in a simulator's place, saved as data only."""

from archgym.proxy.fitting import TrainOptions
from archgym.proxy.model import model_kind, model_names
from archgym.proxy.proxy import Prediction, Proxy, ProxySimulator, judge, train

__all__ = [
    "Prediction",
    "Proxy",
    "ProxySimulator",
    "TrainOptions",
    "judge",
    "model_kind",
    "model_names",
    "train",
]
