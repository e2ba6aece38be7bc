"""State of one page: the design, its history and pins, and what is known of it as JSON.

Nothing here draws or waits: a page, a notebook and a test use the same `Exploration`.
"""

import json
import math
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np

from archgym.analysis.pareto import front
from archgym.errors import ArchGymError, InvalidArgumentError
from archgym.evaluation.capabilities import bottlenecks_of, breakdown_of
from archgym.evaluation.external import ExternalSimulator
from archgym.evaluation.function import FunctionSimulator
from archgym.evaluation.limits import LIMITED_REWARD, Limit
from archgym.evaluation.restriction import bare
from archgym.evaluation.simulator import FEASIBLE
from archgym.report.commands import evaluate_command, task_title
from archgym.report.explain import single_changes
from archgym.report.quantities import change_text, metric_title, plain_number, quantity
from archgym.spaces.parameter import Parameter
from archgym.spaces.texts import value_from_text
from archgym.tasks.task import Task

# chosen: more columns of designs do not fit a screen.
MAX_PINS = 4
# chosen: dots that a browser draws in a few milliseconds and a socket carries in as many.
_MAX_DOTS = 1500
# chosen: designs whose results are kept; a design of 100 metrics has some kB.
_MAX_KNOWN = 5000
# chosen: a longer list is typed instead of chosen.
_MAX_CHOICES = 400
_MAX_STEPS = 10_000
# chosen: steps back, far more than a person takes.
_MAX_HISTORY = 1000
# chosen: metrics that a scatter offers.
_MAX_AXES = 6
# chosen: a parameter that moves the reward by less has no effect, as in `archgym explain`.
_NOTHING = 1e-3


@final
@dataclass(frozen=True)
class Result:
    """Result of one design, as `Task.evaluate` returned it."""

    values: np.ndarray
    """(n_workloads, n_metrics)"""
    reason: np.ndarray
    """(n_workloads,)"""
    reward: float
    failure: str = ""

    @property
    def is_built(self) -> bool:
        """True if the design can be built."""
        return not self.failure and bool((self.reason == FEASIBLE).all())


@final
class Exploration:
    """A design that somebody moves, with the results that are known.

    `move`, `load`, `undo`, `redo` and `pin` change it at once; `evaluate` runs the simulator, once
    a design; the methods that end in `_json` return what a page shows.

    Example:
      >>> from archgym.testing import ProvingSimulator
      >>> state = Exploration(Task.make(ProvingSimulator("tiny", has_failures=False), "near"))
      >>> state.move(1, 2)
      >>> _ = state.evaluate(state.design[None, :])
      >>> state.answer_json()["built"]
      True
    """

    def __init__(self, task: Task) -> None:
        """Begin with the default design of a task."""
        self.task = task
        self.design: np.ndarray = task.space.default_indices.copy()
        self.pins: list[np.ndarray] = []
        self.baseline = "default"
        """One of default, best and the letter of a pin."""
        self._past: list[np.ndarray] = []
        self._future: list[np.ndarray] = []
        self._known: dict[bytes, Result] = {}
        self._rows: dict[bytes, np.ndarray] = {}
        self._lock = threading.Lock()
        # A function of the user may keep what it counts; simulators of their own are threadsafe.
        is_users = isinstance(bare(task.simulator), FunctionSimulator | ExternalSimulator)
        self._turn: AbstractContextManager[Any] = threading.Lock() if is_users else nullcontext()
        self.best: np.ndarray | None = None

    # ---- moving

    def move(self, place: int, index: int) -> None:
        """Give the parameter at a place the value of an index.

        Raises:
          InvalidArgumentError: There is no such parameter or value.
        """
        parameters = self.task.space.parameters
        is_whole = type(place) is int and type(index) is int
        if not (is_whole and 0 <= place < len(parameters) and 0 <= index < parameters[place].size):
            raise InvalidArgumentError(
                f"A move needs a parameter and the index of one of its values; got {place!r}, "
                f"{index!r}."
            )
        design = self.design.copy()
        design[place] = index
        self.load(design)

    def type_value(self, place: int, text: str) -> None:
        """Give the parameter at a place the value of a text, such as ``4,2,1``."""
        parameter = self.task.space.parameters[place]
        self.move(place, parameter.index(value_from_text(parameter, text)))

    def load(self, design: np.ndarray) -> None:
        """Go to a design, (n_parameters,), which `undo` leaves again."""
        design = np.asarray(design, dtype=np.int64)
        self.task.space.check_indices(design[None, :])
        if not np.array_equal(design, self.design):
            self._past = [*self._past[1 - _MAX_HISTORY :], self.design]
            self._future.clear()
            self.design = design.copy()

    def undo(self) -> None:
        """Go back to the design before."""
        if self._past:
            self._future.append(self.design)
            self.design = self._past.pop()

    def redo(self) -> None:
        """Take `undo` back."""
        if self._future:
            self._past.append(self.design)
            self.design = self._future.pop()

    def pin(self) -> None:
        """Keep the design to compare others with; of more than four the oldest is dropped."""
        if not any(np.array_equal(self.design, pinned) for pinned in self.pins):
            self.pins = [*self.pins, self.design.copy()][-MAX_PINS:]

    def unpin(self, number: int) -> None:
        """Drop a pinned design."""
        self.pins = [pinned for each, pinned in enumerate(self.pins) if each != number]
        self.baseline = "default"

    # ---- results

    def _key(self, design: np.ndarray) -> bytes:
        canonical = self.task.space.canonical(np.asarray(design, dtype=np.int64)[None, :])
        return bytes(canonical[0].tobytes())

    def result(self, design: np.ndarray) -> Result | None:
        """Return what is known of a design; None before `evaluate` and `learn`."""
        return self._known.get(self._key(design))

    def evaluate(self, designs: np.ndarray) -> list[Result]:
        """Return results of designs, (n, n_parameters); those that are not known run in one batch.

        Several threads may evaluate at once; functions and programs of a user's take turns.

        Raises:
          SimulatorError: The simulator broke on the whole batch.
        """
        rows = self.task.space.canonical(np.asarray(designs, dtype=np.int64))
        keys = [row.tobytes() for row in rows]
        found = {key: known for key in keys if (known := self._known.get(key)) is not None}
        new = [n for n, key in enumerate(keys) if key not in found and keys.index(key) == n]
        if new:
            with self._turn:
                ran = self.task.evaluate(rows[new])
            for at, n in enumerate(new):
                failure = ran.failures.get(at, "")
                result = Result(ran.values[at], ran.reason[at], float(ran.reward[at]), failure)
                found[keys[n]] = result
                self._keep(rows[n], result)
        return [found[key] for key in keys]

    def learn(
        self, designs: np.ndarray, values: np.ndarray, reason: np.ndarray, reward: np.ndarray
    ) -> None:
        """Take recorded results of designs, with the shapes of a task's `Evaluation`.

        Args:
          designs: (n, n_parameters)
          values: (n, n_workloads, n_metrics)
          reason: (n, n_workloads)
          reward: (n,)
        """
        rows = self.task.space.canonical(designs.astype(np.int64))
        kept = np.arange(len(rows))
        if len(rows) > _MAX_KNOWN // 2:
            # Objects of a hundred thousand records would take seconds.
            built = np.flatnonzero((reason == FEASIBLE).all(axis=1))
            best = built[self._front(values[built], reward[built])]
            kept = np.union1d(best, kept[-_MAX_KNOWN // 2 :])
        for n in kept.tolist():
            self._keep(rows[n], Result(values[n], reason[n], float(reward[n])))

    def _front(self, values: np.ndarray, reward: np.ndarray) -> np.ndarray:
        """Return positions of the best design and of the front over the first two axes.

        Args:
          values: (n, n_workloads, n_metrics) of designs that can be built.
          reward: (n,)
        """
        if not len(values):
            return np.arange(0)
        places = [place for place in self._axes if self.task.metrics[place].name in self._goals][:2]
        goals = [self._goals[self.task.metrics[place].name] for place in places]
        eligible = np.arange(len(values))
        if self.task.limits and (reward > LIMITED_REWARD).any():
            eligible = np.flatnonzero(reward > LIMITED_REWARD)
        terms = self.task.average(values[eligible])[:, places]
        found = eligible[front(terms * [1.0 if goal == "maximise" else -1.0 for goal in goals])]
        return np.union1d(found, [int(reward.argmax())])

    @cached_property
    def _axes(self) -> list[int]:
        """Places of the metrics that a scatter offers, those of the objective first."""
        names = [spec.name for spec in self.task.metrics]
        goals = [spec.name for spec in self.task.metrics if spec.goal != "none"]
        sought = [name for name in self.task.objective.metrics if name in names]
        return [names.index(name) for name in dict.fromkeys([*sought, *goals])][:_MAX_AXES]

    @cached_property
    def _goals(self) -> dict[str, str]:
        """Which way the objective wants its metrics; of some the simulator wants neither."""
        ways = {"at-most": "minimise", "at-least": "maximise", "archgym-2023": "none"}
        return {term.metric: ways.get(term.goal, term.goal) for term in self.task.objective.terms}

    def _keep(self, row: np.ndarray, result: Result) -> None:
        key = row.tobytes()
        with self._lock:
            best = None if self.best is None else self._known.get(self.best.tobytes())
            self._known[key], self._rows[key] = result, row
            if result.is_built and (best is None or result.reward > best.reward):
                self.best = row
            if len(self._known) > _MAX_KNOWN:
                self._forget()

    def _forget(self) -> None:
        """Keep the front, the best design, pins and the newest half of what is known."""
        keys = list(self._known)
        built = [key for key in keys if self._known[key].is_built]
        found = [self._known[key] for key in built]
        best = self._front(
            np.array([result.values for result in found]),
            np.array([result.reward for result in found]),
        )
        kept = {*keys[-_MAX_KNOWN // 2 :], *(built[n] for n in best.tolist())}
        kept |= {self._key(pinned) for pinned in self.pins}
        for key in keys:
            if key not in kept:
                del self._known[key], self._rows[key]

    # ---- what a page shows

    def space_json(self) -> dict[str, Any]:
        """Return task and parameters, which do not change."""
        task = self.task
        names = [weighted.workload.name for weighted in task.workloads]
        groups = task.simulator.spec.groups
        group_of = {name: group for group, members in groups.items() for name in members}
        return {
            "task": task.id,
            "title": task_title(task.simulator.name, names, task.objective, task.metrics),
            "parameters": [
                {
                    "name": parameter.name,
                    "unit": parameter.unit,
                    "doc": parameter.doc,
                    "group": group_of.get(parameter.name, "other" if groups else ""),
                    "size": min(parameter.size, _MAX_STEPS + 1),
                    "look": _look(parameter),
                    "default": parameter.default_index if parameter.size <= _MAX_STEPS else 0,
                    "values": _texts(parameter) if _look(parameter) != "text" else [],
                }
                for parameter in task.space.parameters
            ],
        }

    def _base(self) -> tuple[str, np.ndarray | None]:
        """Return the name of the baseline and its metrics, (n_workloads, n_metrics)."""
        design = self.best
        if self.baseline == "default" or (self.baseline == "best" and design is None):
            return "default", self.task.reference
        if self.baseline != "best":
            number = ord(self.baseline) - ord("A")
            if not 0 <= number < len(self.pins):
                return "default", self.task.reference
            design = self.pins[number]
        assert design is not None
        result = self.result(design)
        return self.baseline, result.values if result is not None and result.is_built else None

    def answer_json(self) -> dict[str, Any]:
        """Return the result of the design against the baseline; without metrics if unknown."""
        task, space = self.task, self.task.space
        result = self.result(self.design)
        name, base = self._base()
        shown: dict[str, Any] = {
            "design": [str(index) for index in self.design.tolist()],
            "texts": [
                _text(parameter.value(int(index)))
                for parameter, index in zip(space.parameters, self.design, strict=True)
            ],
            "active": space.active(self.design[None, :])[0].tolist(),
            "baseline": name,
            "known": result is not None,
            "built": result is not None and result.is_built,
            "reason": self._reason(result),
            "failed": result is not None and bool(result.failure),
            "undo": len(self._past),
            "redo": len(self._future),
            "pins": [self._pin_json(number) for number in range(len(self.pins))],
            "metrics": [],
            "limits": [],
        }
        if result is None or not result.is_built:
            return shown
        values = task.average(result.values[None])[0]
        old = task.average(base[None])[0] if base is not None else np.full(len(values), math.nan)
        sought = task.objective.metrics
        error = task.simulator.spec.accuracy_percent.get(task.simulator.fidelity)
        for spec, value, was in zip(task.metrics, values.tolist(), old.tolist(), strict=True):
            share = value / was - 1 if was and math.isfinite(was) else math.nan
            goal = self._goals.get(spec.name, spec.goal)
            better = (share < 0) == (goal == "minimise")
            is_moved = goal != "none" and math.isfinite(share) and abs(share) >= _NOTHING
            shown["metrics"].append(
                {
                    "name": spec.name,
                    "title": metric_title(spec),
                    "doc": spec.doc,
                    "goal": goal,
                    "sought": spec.name in sought,
                    "value": value,
                    "text": quantity(value, spec.unit),
                    "base": quantity(was, spec.unit),
                    "change": change_text(share),
                    "mood": ("better" if better else "worse") if is_moved else "",
                    "error": "" if not error or spec.exact else f"± {error:g} %",
                    "pins": [self._metric_of(pin, spec.name) for pin in self.pins],
                }
            )
        shown["metrics"].sort(
            key=lambda m: sought.index(m["name"]) if m["sought"] else len(sought) + 1
        )
        shown["limits"] = [self._limit_json(limit, result.values) for limit in task.limits]
        shown["reward"] = result.reward
        return shown

    def _reason(self, result: Result | None) -> str:
        if result is None or result.is_built:
            return ""
        if result.failure:
            return result.failure
        broken = int(result.reason[result.reason != FEASIBLE][0])
        return self.task.simulator.spec.reasons[broken]

    def _limit_json(self, limit: Limit, values: np.ndarray) -> dict[str, Any]:
        place = [spec.name for spec in self.task.metrics].index(limit.metric)
        column = values[:, place]
        worst = float(column.max() if limit.sign == "<=" else column.min())
        is_met = worst <= limit.bound if limit.sign == "<=" else worst >= limit.bound
        spec = self.task.metrics[place]
        room = quantity(abs(worst - limit.bound), spec.unit)
        if limit.bound:
            room += f" ({plain_number(100 * abs(worst / limit.bound - 1), 3)} %)"
        word = {"<=": "at most", ">=": "at least"}[limit.sign]
        text = f"{metric_title(spec)} {word} {quantity(limit.bound, spec.unit)}"
        return {"text": text, "met": is_met, "by": f"{'room of' if is_met else 'missed by'} {room}"}

    def _metric_of(self, design: np.ndarray, metric: str) -> str:
        result = self.result(design)
        if result is None or not result.is_built:
            return "–"
        place = [spec.name for spec in self.task.metrics].index(metric)
        return quantity(float(self.task.average(result.values[None])[0][place]),
                        self.task.metrics[place].unit)  # fmt: skip

    def _pin_json(self, number: int) -> dict[str, Any]:
        pinned = self.pins[number]
        parameters = self.task.space.parameters
        differs = [
            [each.name, _text(each.value(int(a))), _text(each.value(int(b)))]
            for each, a, b in zip(parameters, pinned, self.design, strict=True)
            if a != b
        ]
        design = [str(index) for index in pinned.tolist()]
        return {"letter": "ABCD"[number], "differs": differs, "design": design}

    def bounds_json(self) -> list[dict[str, Any]]:
        """Return what makes up metrics of the design: parts that add up, or causes that overlap.

        Raises:
          SimulatorError: The simulator broke.
        """
        task, result = self.task, self.result(self.design)
        if result is None or not result.is_built:
            return []
        design = task.space.canonical(self.design[None, :])[0]
        names = [spec.name for spec in task.metrics]
        found: list[dict[str, Any]] = []
        for place, weighted in enumerate(task.workloads):
            where = f", {weighted.workload.name}" if len(task.workloads) > 1 else ""
            for metric, parts in breakdown_of(task.simulator, design, weighted.workload).items():
                total = sum(parts.values())
                if metric in names and total > 0:
                    shares = [(name, part / total) for name, part in parts.items() if part > 0]
                    found.append(self._bar(metric, where, shares))
            causes: dict[str, list[tuple[str, float]]] = {}
            for each in bottlenecks_of(task.simulator, design, weighted.workload):
                causes.setdefault(each.metric, []).append((each.name, each.share))
            for metric, shares in causes.items():
                if metric in names and math.isfinite(result.values[place, names.index(metric)]):
                    found.append(self._bar(metric, where, shares))
        sought = task.objective.metrics
        found.sort(key=lambda bar: (bar["metric"] not in sought, bar["overlap"]))
        return [bar for n, bar in enumerate(found) if bar not in found[:n]]

    def _bar(self, metric: str, where: str, shares: list[tuple[str, float]]) -> dict[str, Any]:
        spec = self.task.metrics[[each.name for each in self.task.metrics].index(metric)]
        shares = sorted(shares, key=lambda part: -part[1])
        rest = 1.0 - sum(share for _, share in shares)
        if rest > 5e-3:
            shares.append(("other", rest))
        return {
            "metric": metric,
            "title": metric_title(spec) + where,
            "overlap": rest < -5e-3,
            "parts": [[name, share] for name, share in shares],
        }

    def changes(self) -> tuple[np.ndarray, list[tuple[int, int]]]:
        """Return the design and its single changes, and of each the parameter and the index."""
        return single_changes(self.task.space, self.design)

    def changes_json(self, rows: np.ndarray, changed: Sequence[tuple[int, int]]) -> dict[str, Any]:
        """Return which single changes cannot be built, and the effects of those that are known.

        Args:
          rows: (1 + n, n_parameters), as `changes` returned them.
          changed: As `changes` returned them.
        """
        task = self.task
        broken = task.space.violations(rows)
        reasons = task.space.constraints
        here = self.result(rows[0])
        marks: list[list[Any]] = []
        effects: dict[int, list[tuple[float, int, Result]]] = {}
        known = 0
        for row, violated, (place, index) in zip(rows[1:], broken[1:], changed, strict=True):
            result = self._known.get(row.tobytes())
            known += result is not None or violated >= 0
            if violated >= 0:
                marks.append([place, index, reasons[int(violated)].reason])
            elif result is not None and not result.is_built:
                marks.append([place, index, self._reason(result)])
            elif result is not None and here is not None:
                gain = result.reward - here.reward if here.is_built else 1.0
                effects.setdefault(place, []).append((gain, index, result))
        shown: list[dict[str, Any]] = []
        for place, own in effects.items():
            assert here is not None
            parameter = task.space.parameters[place]
            best = max(own, key=lambda end: end[2].reward)
            worst = min(own, key=lambda end: end[2].reward)
            ends = [
                [index, _text(parameter.value(index)), gain, self._gain_text(here, result)]
                for gain, index, result in ((best,) if best[1] == worst[1] else (best, worst))
            ]
            # A limit that is met or missed by a change is worth more than any change within.
            within = [abs(gain) for gain, _, each in own if not self._crosses(here, each)]
            saves = best[0] > 0 and self._crosses(here, best[2])
            shown.append(
                {
                    "place": place, "ends": ends, "saves": saves, "span": max(within, default=0.0),
                    "moves": max(abs(gain) for gain, *_ in own),
                }
            )  # fmt: skip
        shown.sort(key=lambda effect: (not effect["saves"], -effect["span"], -effect["moves"]))
        matters = [e["place"] for e in shown if e["moves"] >= _NOTHING]
        return {
            "design": [str(index) for index in self.design.tolist()],
            "marks": marks,
            "effects": shown,
            "matters": matters,
            "measure": self.measure,
            "known": known,
            "total": len(changed),
        }

    def _crosses(self, here: Result, there: Result) -> bool:
        """Return True if of two designs only one can be built and meets all limits."""
        return bool(self.task.limits) and here.is_built and (
            (here.reward > LIMITED_REWARD) != (there.reward > LIMITED_REWARD)
        )  # fmt: skip

    @property
    def measure(self) -> str:
        """What the effect of a change is stated in, in words."""
        if len(self._goals) == 1 and not self.task.objective.is_published_form:
            spec = self.task.metrics[self._axes[0]]
            less = self._goals[spec.name] == "minimise"
            return f"{metric_title(spec)}, of which {'less' if less else 'more'} is better"
        return "the objective, of which more is better"

    def _gain_text(self, here: Result, there: Result) -> str:
        """Return in words what a change does to the objective, as `measure` says."""
        if not here.is_built:
            return "can be built"
        gain = there.reward - here.reward
        if len(self._goals) == 1 and not self.task.objective.is_published_form:
            place = self._axes[0]
            old, new = (self.task.average(v[None])[0][place] for v in (here.values, there.values))
            said = change_text(float(new / old - 1)) if old else quantity(float(new), "")
        elif self.task.objective.is_published_form:
            said = f"{gain:+.3g}"
        elif min(here.reward, there.reward) > LIMITED_REWARD:
            said = change_text(math.expm1(min(gain, 700.0)))
        else:
            said = ""
        if self._crosses(here, there):
            word = "meets the limits" if gain > 0 else "misses a limit"
        elif here.reward <= LIMITED_REWARD and self.task.limits and abs(gain) >= _NOTHING:
            word = f"{'nearer to' if gain > 0 else 'further from'} the limits"
        else:
            word = ""
        return ", ".join(part for part in (said, word) if part)

    def cloud_json(self) -> dict[str, Any]:
        """Return designs that were evaluated, as the report's explorer draws them."""
        task = self.task
        with self._lock:
            built = [key for key, result in self._known.items() if result.is_built]
            results = [self._known[key] for key in built]
            rows = [self._rows[key] for key in built]
        if not built:
            return {"n": 0}
        stacked = np.array([result.values for result in results])
        values = task.average(stacked)
        rewards = np.array([result.reward for result in results])
        places = self._axes
        best = self._front(stacked, rewards)
        kept = np.union1d(best, np.arange(len(built))[-_MAX_DOTS:])
        designs = np.array(rows)[kept]
        parameters, codes = [], []
        for place, parameter in enumerate(task.space.parameters):
            used, code = np.unique(designs[:, place], return_inverse=True)
            texts = [_text(parameter.value(int(index))) for index in used]
            parameters.append({"name": parameter.name, "values": texts})
            codes.append(code.tolist())
        order = {int(row): n for n, row in enumerate(kept)}
        here = next((n for n, key in enumerate(built) if key == self._key(self.design)), -1)
        top = order[int(rewards.argmax())]
        units = [task.metrics[p].unit for p in places]
        return {
            "n": len(kept),
            "total": len(built),
            "axes": [
                f"{task.metrics[p].name} [{unit}]" if unit else task.metrics[p].name
                for p, unit in zip(places, units, strict=True)
            ]
            + ["reward"],
            "numbers": [*values[kept][:, places].T.tolist(), rewards[kept].tolist()],
            "parameters": parameters,
            "codes": codes,
            "designs": [[str(index) for index in row] for row in designs.tolist()],
            "front": [order[int(row)] for row in best],
            "best": top,
            "reference": order.get(here, top),
            "marks": ["best", "this"],
        }

    def text_of(self, form: str) -> str:
        """Return the design as a command, as Python or as JSON."""
        task = self.task
        changes = task.space.changes(task.space.design_at(self.design))
        if form == "command":
            return evaluate_command(task, self.design)
        if form == "json":
            design = dict(task.space.design_at(self.design))
            return json.dumps({"task": task.id, "digest": task.digest, "design": design}, indent=1)
        if form == "python":
            return (
                "import archgym as ag\n"
                f"task = ag.Task.make({task.id!r})\n"
                f"design = task.space.filled({changes!r})\n"
                "print(task.evaluate(task.space.indices_of(design)[None, :]))"
            )
        raise InvalidArgumentError(f"A design is copied as command, python or json; got {form!r}.")


def design_of(task: Task, indices: Sequence[Any]) -> np.ndarray:
    """Return a design of indices that a page sent, (n_parameters,).

    Raises:
      InvalidArgumentError: It is not a design of the task.
    """
    try:
        design = np.array([int(index) for index in indices], dtype=np.int64)
        task.space.check_indices(design[None, :])
    except (ValueError, TypeError, OverflowError, ArchGymError) as error:
        raise InvalidArgumentError(f"The design is not one of this task: {error}") from None
    return design


def _look(parameter: Parameter) -> str:
    """Return how a parameter is moved: held, slider, choice, switch or text."""
    if parameter.size == 1:
        return "held"
    if parameter.size == 2:
        return "switch"
    if parameter.is_ordered and parameter.size <= _MAX_STEPS:
        return "slider"
    return "choice" if parameter.size <= _MAX_CHOICES else "text"


def _texts(parameter: Parameter) -> list[str]:
    return [_text(parameter.value(index)) for index in range(parameter.size)]


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
