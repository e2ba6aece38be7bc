"""A simulator as another package registers it, for tests of commands."""

from dataclasses import replace
from typing import Annotated, Any

from archgym.evaluation.options import Option, declared
from archgym.evaluation.simulator import Simulator
from tests.toys import SPACE, ToySimulator, Trouble

DEVICES = ("small", "large")


def _plugin_class() -> type[Simulator]:
    class PluginSimulator(ToySimulator):
        """Bowls in four dimensions."""

        spec = replace(
            ToySimulator.spec,
            name="plugin",
            space_names=("default",),
        )

        @declared
        def __init__(
            self,
            space: str = "default",
            fidelity: str = "standard",
            device: Annotated[str, Option("Size of the device.", choices=DEVICES)] = "small",
            trouble: Trouble = "none",
            pace_s: str = "0",
        ) -> None:
            super().__init__(trouble, float(pace_s))
            chosen = {"device": device, "trouble": trouble, "pace_s": pace_s}
            usual = {"device": "small", "trouble": "none", "pace_s": "0"}
            options = {name: value for name, value in chosen.items() if value != usual[name]}
            self.spec = self.spec.completed(space=SPACE, options=options)

        def describe_workload(self, workload: Any) -> dict[str, tuple[float | str, str]]:
            return {"load": (float(workload.content), "")}

    return PluginSimulator


PluginSimulator = _plugin_class()
