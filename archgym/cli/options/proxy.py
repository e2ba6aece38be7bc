"""How a proxy is trained, as options of commands."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.cli.options.values import assignments
from archgym.errors import InvalidArgumentError

if TYPE_CHECKING:
    from archgym.proxy import TrainOptions

__all__ = [
    "FitOption",
    "ModelOption",
    "SeedOption",
    "SettingOption",
    "WorkloadsOption",
    "train_options",
]

ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        help="forest, extra-trees, boosting, mlp, gp, knn, linear, xgboost or lightgbm.",
    ),
]
WorkloadsOption = Annotated[
    str,
    typer.Option(
        "--workloads",
        help="separate: a model each; joint: one that also predicts on workloads it has not seen.",
    ),
]
FitOption = Annotated[
    str,
    typer.Option(
        "--fit",
        help="A model for metrics that are alike (alike), for each, or one for all (joint).",
    ),
]
SettingOption = Annotated[
    list[str] | None,
    typer.Option(
        "--setting",
        help="A hyperparameter, such as n_trees=20; others by default; none: cross-validation.",
        metavar="NAME=VALUE",
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Of the training.", min=0, max=2**32 - 1)]


def train_options(
    model: str,
    workloads: str,
    fit: str,
    calibration: float,
    seed: int,
    setting: Sequence[str] | None,
) -> "TrainOptions":
    """Return options of training from those of a command.

    Raises:
      InvalidArgumentError: A hyperparameter does not exist or is no number.
    """
    from archgym.proxy import TrainOptions, model_kind

    chosen: dict[str, Any] | None = None
    if setting:
        chosen = dict(model_kind(model).settings[0])
        for name, text in assignments("--setting", setting).items():
            if name not in chosen:
                raise InvalidArgumentError(
                    f"`--setting` of {model} must be one of {', '.join(chosen)}; got {name!r}."
                )
            try:
                chosen[name] = type(chosen[name])(text)
            except ValueError:
                what = "whole number" if isinstance(chosen[name], int) else "number"
                raise InvalidArgumentError(
                    f"`--setting` {name} must be a {what} such as {chosen[name]}; got {text!r}."
                ) from None
    return TrainOptions(model, workloads, fit, calibration, seed, chosen)
