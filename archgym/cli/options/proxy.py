"""Options of the training of proxy models."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.cli.options.completion import complete_model
from archgym.cli.options.values import assignments
from archgym.errors import InvalidArgumentError

if TYPE_CHECKING:
    from archgym.proxy import TrainOptions

ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        help="Kind of model; see `archgym list models`.",
        autocompletion=complete_model,
    ),
]
WorkloadsOption = Annotated[
    str,
    typer.Option(
        "--workloads",
        help="Models per workload: separate, or joint (also predicts unseen workloads).",
    ),
]
FitOption = Annotated[
    str,
    typer.Option(
        "--fit",
        help="Metrics per model: alike (those that differ in unit only), each, or joint (all).",
    ),
]
SettingOption = Annotated[
    list[str] | None,
    typer.Option(
        "--setting",
        help="Hyperparameter of the model, such as n_trees=20; repeat for more (default: "
        "chosen by cross-validation).",
        metavar="NAME=VALUE",
    ),
]
SeedOption = Annotated[
    int, typer.Option("--seed", help="Random seed of the training.", min=0, max=2**32 - 1)
]


def train_options(
    model: str,
    workloads: str,
    fit: str,
    calibration: float,
    seed: int,
    setting: Sequence[str] | None,
) -> "TrainOptions":
    """Return the training options that a command was given.

    Raises:
      InvalidArgumentError: A hyperparameter does not exist or is not a number.
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
                kind = "whole number" if isinstance(chosen[name], int) else "number"
                raise InvalidArgumentError(
                    f"`--setting` {name} must be a {kind} such as {chosen[name]}; got {text!r}."
                ) from None
    return TrainOptions(model, workloads, fit, calibration, seed, chosen)
