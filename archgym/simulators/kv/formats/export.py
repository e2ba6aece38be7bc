"""Designs as settings of vLLM, SGLang, LMCache and Dynamo; see `data/settings.json`.

What a tool has no option for is left out.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from archgym.errors import InvalidDesignError

GB: Final = {"GB": 1.0, "GiB": 1e9 / 2**30}
"""Units of sizes in a gigabyte."""
TOOLS: Final[Mapping[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "settings.json").read_text()
)
"""Settings by tool."""
FORMATS: Final[Mapping[str, str]] = {name: tool["doc"] for name, tool in TOOLS.items()}


def export(form: str, design: Mapping[str, Any]) -> dict[str, str]:
    """Return a design as the file of a tool; engines that read prompts alone have one of their own.

    Args:
      form: One of `FORMATS`.
      design: Values by parameter; those that the space lacks are left out.

    Raises:
      InvalidDesignError: The tool has no setting for a value.
    """
    name, role = TOOLS[form]["file"], TOOLS[form].get("role")
    n_prefill = design.get("prefill_workers", 0)
    if not n_prefill or role is None:
        return {name: _text(form, design, {})}
    alone = _text(form, {**design, "workers": n_prefill}, {role["key"]: role["prefill"]})
    return {f"prefill-{name}": alone, name: _text(form, design, {role["key"]: role["decode"]})}


def _text(form: str, design: Mapping[str, Any], role: Mapping[str, str]) -> str:
    tool = TOOLS[form]
    found = {**tool["always"], **role}
    for setting in tool["settings"]:
        needs = setting.get("needs")
        if setting["parameter"] not in design or (needs and needs not in found):
            continue
        value = design[setting["parameter"]]
        if "names" in setting:
            if value not in setting["names"]:
                known = ", ".join(setting["names"])
                what = f"The tool has no setting for {value!r}; it has {known}."
                raise InvalidDesignError(what)
            value = setting["names"][value]
        elif "unit" in setting:
            # A size of 0 leaves the setting out.
            value = round(value * GB[setting["unit"]], 3) or None
        if value is not None:
            found[setting["key"]] = value
    for key, others in tool["with"].items():
        found |= others if key in found else {}
    return yaml.safe_dump(found, sort_keys=False)
