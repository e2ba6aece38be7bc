"""Models by name: built-in presets, YAML files and configurations of Hugging Face."""

import json
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

from archgym.simulators.kit import InvalidArgumentError, Node, read_document, unknown_name
from archgym.simulators.moe.workloads.huggingface import is_huggingface, read_huggingface
from archgym.simulators.moe.workloads.models import (
    _LATENT,
    _LIMITS,
    _LINEAR,
    _MAY_BE_ZERO,
    _OPTIONAL,
    LatentAttention,
    LinearAttention,
    MoeModel,
)
from archgym.simulators.moe.workloads.routing import routing_preset

_ATTENTIONS: Final[Mapping[str, tuple[type[Any], tuple[str, ...]]]] = {
    "latent": (LatentAttention, _LATENT),
    "linear": (LinearAttention, _LINEAR),
}


@cache
def _presets() -> Mapping[str, Mapping[str, Any]]:
    path = resources.files("archgym.simulators.moe").joinpath("data/models.json")
    presets: dict[str, dict[str, Any]] = json.loads(path.read_text("utf-8"))
    return presets


def model_names() -> tuple[str, ...]:
    """Return the names of all presets, in the order of their families."""
    return tuple(_presets())


def model(name: str) -> MoeModel:
    """Return a preset, or the model that a YAML, JSON or Hugging Face file describes.

    Args:
      name: A preset, the path of a Hugging Face `config.json`, or a path that ends in .yaml, .yml
        or .json.

    Raises:
      UnknownNameError: There is no such preset.
      InvalidArgumentError: It is a folder.
      FileFormatError: The file is not a model.
      StorageError: It cannot be read.
    """
    if is_huggingface(name):
        return read_huggingface(name)
    if Path(name).suffix in (".yaml", ".yml", ".json"):
        return read_model(name)
    found = _presets().get(name)
    if found is None and Path(name).is_dir():
        raise InvalidArgumentError(f"{name} is a folder. Name the file, as {name}/config.json.")
    if found is None:
        raise unknown_name("model", name, _presets())
    values = dict(found)
    latent, linear = values.pop("latent", None), values.pop("linear", None)
    return MoeModel(
        name=name,
        latent=LatentAttention(**latent) if latent else None,
        linear=LinearAttention(**linear) if linear else None,
        **values,
    )


def read_model(path: str | Path) -> MoeModel:
    """Return the model under `model` in a YAML file.

    Its keys are the attributes of `MoeModel`; `preset` takes those that are not given from a
    preset.

    Raises:
      FileFormatError: It is something else; the error names the line.
      StorageError: It cannot be read.
    """
    document = read_document(path)
    root = document.root.members("the file", ("model", "hardware", "routing"))
    if "model" not in root:
        raise document.root.refusal(
            "the file must have the key 'model'; it has not", "See the README of the moe simulator"
        )
    node = root["model"]
    names = [field.name for field in fields(MoeModel)]
    members = node.members("a model", (*names, "preset"))
    values: dict[str, Any] = {"name": Path(path).stem}
    if "preset" in members:
        name = members["preset"].text("`preset`")
        try:
            # A file's preset is one that ships: files that name each other would never end.
            if name not in _presets():
                raise unknown_name("model", name, _presets())
            base = model(name)
        except LookupError as error:
            raise document.refusal(error, "model", "preset") from None
        values = vars(base) | values | {"source": f"{base.name} with other values"}
    values |= {name: _value(name, member) for name, member in members.items() if name != "preset"}
    if "routing" in members:
        try:
            routing_preset(values["routing"])
        except LookupError as error:
            raise document.refusal(error, "model", "routing") from None
    absent = [name for name in names if name not in values and name not in _OPTIONAL]
    if absent:
        raise node.refusal(
            f"a model must have the key {absent[0]!r}; it has not", "Add it, or name a `preset`"
        )
    try:
        return MoeModel(**values)
    except InvalidArgumentError as error:
        raise node.refusal(str(error)) from None


def _value(name: str, node: Node) -> Any:
    if name in _LIMITS:
        return node.whole(f"`{name}`", 0 if name in _MAY_BE_ZERO else 1, _LIMITS[name])
    if name in ("tied_embeddings", "output_gate", "wide_attention"):
        return node.flag(f"`{name}`")
    if name in _ATTENTIONS:
        if node.value is None:
            return None
        kind, keys = _ATTENTIONS[name]
        members = node.members(f"`{name}`", keys)
        absent = [key for key in keys if key not in members]
        if absent:
            raise node.refusal(f"`{name}` must have the key {absent[0]!r}; it has not")
        # Queries need not be compressed.
        lows = {key: 0 if key == "query_rank" else 1 for key in keys}
        return kind(
            **{key: member.whole(f"`{key}`", lows[key], 100_000) for key, member in members.items()}
        )
    return node.text(f"`{name}`")
