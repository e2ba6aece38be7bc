"""The base of simulators of several parts, each with its own simulator, space and metrics.

    class CacheAndMemory(Composition):
        kinds = {"cache": "cache", "dram": "dram"}
        joint_metrics = (MetricSpec("time_ns", "ns", "minimise", 1.0, "Time of the program."),)

        def couple(self, parts, workload):
            cache = parts["cache"].run(workload)
            memory = parts["dram"].run(missed(workload, cache))
            return {"time_ns": cache["busy_ns"] + memory["total_time_ns"]}

`couple` says what one part's result gives another. Everything else follows: a space with
`cache.ways` and `dram.page_policy`, metrics, limits, costs, exports and options of the parts.
"""

import threading
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final, NoReturn, Self, final

import numpy as np

from archgym.composition.namespace import (
    check_part_names,
    joint_space,
    part_limits,
    part_metrics,
    split,
    within,
)
from archgym.errors import InvalidDesignError, SimulatorError, check_known, unknown_name
from archgym.evaluation.capabilities import (
    Files,
    exported,
    expressible,
    facts_about,
    option_names,
    results_without,
    widened,
)
from archgym.evaluation.conservation import Columns, Laws
from archgym.evaluation.metrics import Metrics, MetricSpec
from archgym.evaluation.options import (
    DeclaredOption,
    declared_options,
    make_simulator,
)
from archgym.evaluation.restriction import split_space
from archgym.evaluation.simulator import (
    FAILED,
    FEASIBLE,
    BatchResult,
    Simulator,
    Workload,
    default_workload,
    laws_of,
    simulator_class,
    simulator_names,
)
from archgym.spaces.design import Design
from archgym.spaces.expression import P

_Outcome = Metrics | str
# chosen: the largest number whose square is one too.
_MOST: Final = 1e154
# chosen: results of this many designs of parts take some ten megabytes.
_REMEMBERED: Final = 2**14
# chosen: simulators with options that results of other parts decide.
_MADE: Final = 256
_CHOICES: Final = ("space", "fidelity")
_QUANTITIES: Final[Mapping[str, tuple[str, Mapping[str, float]]]] = {
    "energy": ("uJ", {"pJ": 1e-6, "nJ": 1e-3, "uJ": 1.0, "mJ": 1e3, "J": 1e6, "kJ": 1e9}),
    "power": ("mW", {"mW": 1.0, "W": 1e3, "kW": 1e6}),
    "area": ("mm2", {"mm2": 1.0}),
    "dollars": ("$", {"$": 1.0}),
}
"""Quantities that add up over parts: unit of the sum, and those of parts in it."""


@final
class PartInfeasible(Exception):  # noqa: N818 - ends the evaluation of a design, not an error
    """A design that a part cannot build; it ends the evaluation of the joint design."""


@final
class _Memory:
    """Results of parts that were asked for last, which threads share."""

    def __init__(self) -> None:
        self._found: OrderedDict[tuple[Any, ...], _Outcome] = OrderedDict()
        self._turn = threading.Lock()
        self.n_runs = 0
        self.made: dict[tuple[Any, ...], Simulator] = {}

    def get(self, key: tuple[Any, ...]) -> _Outcome | None:
        with self._turn:
            if key in self._found:
                self._found.move_to_end(key)
            return self._found.get(key)

    def put(self, key: tuple[Any, ...], outcome: _Outcome) -> None:
        with self._turn:
            self.n_runs += 1
            self._found[key] = outcome
            if len(self._found) > _REMEMBERED:
                self._found.popitem(last=False)


@final
class Part:
    """A part of one joint design, as `Composition.couple` receives it.

    Attributes:
      name: Name of the part.
      simulator: Its simulator.
      indices: (n_parameters,), its design in its own space.
      without: Cost of the part that an ideal machine does not pay; None for the real one.
      metrics: Metrics of its last run, or what was reported.

    Example:
      >>> def couple(parts: Mapping[str, Part], workload):
      ...     cache = parts["cache"].run(workload)
      ...     if cache["misses"] > 1000:
      ...         return "more misses than the memory takes"
      ...     memory = parts["dram"].run("cloud-1", requests=str(int(cache["misses"])))
      ...     return {"time_ns": cache["busy_ns"] + memory["total_time_ns"]}
    """

    def __init__(
        self, name: str, simulator: Simulator, indices: np.ndarray, without: str | None, memory: Any
    ) -> None:
        """Take one part of a design."""
        self.name, self.simulator, self.indices, self.without = name, simulator, indices, without
        self._memory: _Memory = memory
        self.metrics: Mapping[str, float] | None = None
        self._workload: Callable[[], Workload] | None = None

    @property
    def design(self) -> Design:
        """Values of the part's parameters, by their own names."""
        return self.simulator.space.design_at(self.indices)

    @property
    def workload(self) -> Workload | None:
        """Workload of the last run; None if it is not known."""
        return None if self._workload is None else self._workload()

    def run(self, workload: Workload | str | Path, **options: str) -> Mapping[str, float]:
        """Return the part's metrics on a workload, by their own names.

        The same design of the part on the same workload is simulated once.

        Args:
          workload: A workload, perhaps made of another part's result, or the name of one.
          **options: Options of the simulator that another part's result decides.
        """
        simulator = self._with(options)
        ran = workload if isinstance(workload, Workload) else simulator.workload(workload)
        self._workload = lambda: ran
        chosen = tuple(sorted(options.items()))
        key = (self.name, self.without, chosen, ran.digest, self.indices.tobytes())
        found = self._memory.get(key)
        if found is None:
            found = self._simulated(simulator, ran)
            self._memory.put(key, found)
        if isinstance(found, str):
            raise PartInfeasible(f"{self.name}: {found}")
        self.metrics = found
        return found

    def report(
        self, metrics: Mapping[str, float], workload: Callable[[], Workload] | None = None
    ) -> None:
        """Give the part's metrics where it was not run alone, but together with others.

        Args:
          metrics: All metrics of the part, by their own names.
          workload: Function that returns the workload that it had, for exports.
        """
        self.metrics, self._workload = metrics, workload

    def refuse(self, reason: str) -> NoReturn:
        """End the evaluation, since the part cannot build its design.

        Args:
          reason: One of the `model_reasons` of its simulator.
        """
        raise PartInfeasible(f"{self.name}: {reason}")

    def _with(self, options: Mapping[str, str]) -> Simulator:
        made = self.simulator
        if not options:
            return made
        if made.name not in simulator_names():
            raise unknown_name(f"option of part {self.name!r}", next(iter(options)), ())
        key = (self.name, *sorted(options.items()))
        if key not in self._memory.made:
            if len(self._memory.made) >= _MADE:
                self._memory.made.clear()
            found = make_simulator(
                simulator_class(made.name),
                made.space.name,
                made.fidelity,
                {**made.options, **options},
            )
            usual = dict(zip(found.space.names, found.space.sizes, strict=True))
            wide = [p.name for p in made.space.parameters if p.size > usual[p.name]]
            self._memory.made[key] = widened(found, wide) if wide else found
        return self._memory.made[key]

    def _simulated(self, simulator: Simulator, workload: Workload) -> _Outcome:
        rows = self.indices[None, :]
        if self.without is None:
            result = simulator.evaluate_batch(rows, workload)
        else:
            result = results_without(simulator, self.without, rows, workload)
        reason = int(result.reason[0])
        if reason == FAILED:
            raise SimulatorError(f"{self.name}: {result.failures[0]}")
        if reason != FEASIBLE:
            return simulator.spec.reasons[reason]
        pairs = zip(simulator.metrics, result.values[0].tolist(), strict=True)
        return Metrics({spec.name: value for spec, value in pairs})


class Composition(Simulator):
    """Several simulators whose designs are judged together.

    A class declares the attributes below, joint metrics and objectives, and gives `couple`. Its
    options are those of the parts, such as `cpu.instructions` or `dram.device`, with each part's
    `space` and `fidelity`. A joint design simulates again only the parts that changed.

    Example:
      >>> from archgym.evaluation.spec import SimulatorSpec
      >>> class TwoChips(Composition):
      ...     spec = SimulatorSpec(name="two-chips")
      ...     kinds = {"left": "soc", "right": "soc"}
      ...     usual_options = {part: {"space": "table"} for part in kinds}
      ...     joint_metrics = (MetricSpec("watts", "W", "minimise", 1e-3, "Power of both."),)
      ...     def couple(self, parts, workload):
      ...         left, right = parts["left"].run(workload), parts["right"].run(workload)
      ...         return {"watts": left["power_w"] + right["power_w"]}
      >>> pair = TwoChips()
      >>> design = pair.space.design_at(pair.space.default_indices)
      >>> found = pair.evaluate(design, pair.workload(pair.workload_names()[0]))
      >>> found["watts"] == 2 * found["left.power_w"]
      True
    """

    kinds: ClassVar[Mapping[str, str]] = {}
    """Registered simulator of each part, by the part's name. The first takes the workload."""
    usual_options: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    """Options of parts that differ here from the simulator's own defaults."""
    decided: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Parameters and options of parts that the composition decides, and its own leave out."""
    links: Mapping[str, str] = {}
    """Results that parts give each other, in words: by "giver > taker"."""
    joint_metrics: tuple[MetricSpec, ...] = ()
    """Metrics of the whole, which `couple` returns."""
    own_reasons: tuple[str, ...] = ()
    """Reasons of the composition, beyond those of its parts, why a design cannot be built."""

    apart: ClassVar[Mapping[str, str]] = {}
    """Quantities of parts that do not add up, such as energies of different work, with the
    reason."""

    def __init__(self, space: str = "default", fidelity: str = "", **options: str) -> None:
        """Make the parts.

        Args:
          space: `default`; the option `PART.space` chooses the space of a part.
          fidelity: One of `fidelity_names`; the option `PART.fidelity` chooses that of a part.
          **options: Options of parts, such as ``**{"dram.device": "ddr5"}``.

        Raises:
          UnknownNameError: There is no such part, option, space or fidelity.
        """
        fidelity = fidelity or self.spec.default_fidelity
        self.arguments = {"space": space, "fidelity": fidelity, **options}
        check_known(f"option of simulator {self.name!r}", options, self.option_names())
        usual = {part: _made(kind, self._usual(part)) for part, kind in self.kinds.items()}
        given: dict[str, dict[str, str]] = {part: {} for part in self.kinds}
        for name, text in options.items():
            part, own = split(name)
            given[part][own] = text
        parts = {
            part: _made(kind, {**self._usual(part), **given[part]}) if given[part] else usual[part]
            for part, kind in self.kinds.items()
        }
        changed = {
            within(part, name): text
            for part, made in parts.items()
            for name, text in _changed(made, usual[part], given[part]).items()
        }
        self.spec = replace(self.spec, fidelity=fidelity, options=changed)
        self.join(parts)

    @classmethod
    def _usual(cls, part: str) -> Mapping[str, str]:
        return cls.usual_options.get(part, {})

    def join(self, parts: Mapping[str, Simulator]) -> None:
        """Take over what the parts declare, under their names here.

        Args:
          parts: Simulators by name; the first takes the workload.
        """
        check_part_names(parts)
        self.parts = dict(parts)
        self._memory = _Memory()
        self.lead = next(iter(parts))
        spaces, self._columns, start = {}, {}, 0
        for name, part in parts.items():
            decided = self.decided.get(name, ())
            kept = [own for own in part.space.names if own not in decided]
            is_whole = len(kept) == part.space.n_parameters
            spaces[name] = part.space if is_whole else part.space.restricted(keep=kept)
            kept = list(spaces[name].names)
            places = np.array([part.space.names.index(own) for own in kept], dtype=np.int64)
            self._columns[name] = (slice(start, start + len(kept)), places)
            start += len(kept)
        sums, self.not_summed = self._sums()
        specs = {name: part.spec for name, part in parts.items()}
        self.spec = self.spec.completed(
            space=joint_space("default", spaces, (self.__doc__ or "").strip().split("\n")[0]),
            groups={
                name: tuple(within(name, own) for own in space.names)
                for name, space in spaces.items()
            },
            metrics=(
                *self.joint_metrics,
                *sums,
                *(metric for n, spec in specs.items() for metric in part_metrics(n, spec.metrics)),
            ),
            model_reasons=(
                *self.own_reasons,
                *(f"{n}: {why}" for n, spec in specs.items() for why in spec.reasons[1:]),
            ),
            physical_limits=_all(part_limits(n, s.physical_limits) for n, s in specs.items()),
            usual_limits=_all(part_limits(n, s.usual_limits) for n, s in specs.items()),
            costs={within(n, c): text for n, s in specs.items() for c, text in s.costs.items()},
            relief={
                within(n, cost): tuple(within(n, own) for own in names if own in s.space.names)
                for n, s in specs.items()
                for cost, names in s.relief.items()
            },
            exports={within(n, f): text for n, s in specs.items() for f, text in s.exports.items()},
            default_workload=default_workload(parts[self.lead]),
        )

    def _sums(self) -> tuple[list[MetricSpec], dict[str, str]]:
        """Return sums of quantities that all parts have, and why others have none, by quantity.

        The composition's own metric of a quantity stands for its sum.
        """
        sums: list[MetricSpec] = []
        missing: dict[str, str] = dict(self.apart)
        for quantity, (unit, factors) in _QUANTITIES.items():
            if quantity in missing or _total(self.joint_metrics, quantity):
                continue
            found = {name: _total(part.metrics, quantity) for name, part in self.parts.items()}
            lacking = [name for name, spec in found.items() if spec is None]
            if lacking:
                missing[quantity] = (
                    f"{', '.join(lacking)} {'has' if len(lacking) == 1 else 'have'} none"
                )
                continue
            terms = [factors[s.unit] * P(within(n, s.name)) for n, s in found.items() if s]
            name = "total_" + (quantity if unit == "$" else f"{quantity}_{unit.lower()}")
            doc = f"Sum over the parts {', '.join(self.parts)}."
            sums.append(
                MetricSpec(
                    name, unit, "minimise", 1e-3, doc, sum(terms[1:], terms[0]), identifies=False
                )
            )
        return sums, missing

    @classmethod
    def option_names(cls) -> tuple[str, ...]:
        """Return the options of the parts, each with its part's name."""
        return tuple(
            within(part, name)
            for part, kind in cls.kinds.items()
            for name in (*_CHOICES, *option_names(simulator_class(kind)))
            if name not in cls.decided.get(part, ())
        )

    @classmethod
    def options_of_parts(cls) -> tuple[DeclaredOption, ...]:
        """Return the declarations of the parts' options."""
        return tuple(
            replace(
                option,
                name=within(part, option.name),
                default=cls._usual(part).get(option.name, option.default),
            )
            for part, kind in cls.kinds.items()
            for option in declared_options(simulator_class(kind))
            if option.name not in cls.decided.get(part, ())
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), **self.arguments), ()

    @abstractmethod
    def couple(self, parts: Mapping[str, Part], workload: Workload) -> Mapping[str, float] | str:
        """Return the joint metrics of one design, or the entry of `own_reasons` why it has none.

        Every part must be run, or its metrics be reported.

        Args:
          parts: The design's parts by name.
          workload: Workload of the first part.
        """

    def bounds(self, partial: np.ndarray, workload: Workload) -> np.ndarray:
        """Return bounds where all parameters in `bounded_by` are chosen, else NaN."""
        found = np.full((len(partial), len(self.metrics)), np.nan)
        known = self.space.names
        columns = [known.index(name) for name in self.spec.bounded_by if name in known]
        rows = np.flatnonzero((partial[:, columns] >= 0).all(axis=1))
        if columns and len(rows):
            filled = np.where(partial < 0, self.space.default_indices, partial)
            found[rows] = self.bounds_of(filled[rows], workload)
        return found

    def bounds_of(self, indices: np.ndarray, workload: Workload) -> np.ndarray:
        """Return bounds of metrics that hold for all designs with the same values of `bounded_by`.

        Args:
          indices: (n, n_parameters), designs of the joint space.
          workload: One that this simulator made.

        Returns:
          (n, n_metrics), as `Simulator.bounds`.
        """
        del workload
        return np.full((len(indices), len(self.metrics)), np.nan)

    def laws(self, indices: np.ndarray, column: Columns, workload: Workload) -> Laws:
        """Return laws of the first part; runs of parts are held to their own as they happen."""
        lead = self.parts[self.lead]
        own = {spec.name: column[within(self.lead, spec.name)] for spec in lead.metrics}
        found = laws_of(lead, self.of_part(self.lead, indices), own, workload)
        return {f"{self.lead}: {text}": law for text, law in found.items()}

    @property
    def n_part_runs(self) -> int:
        """Runs of parts that were simulated, and not found among the results known."""
        return self._memory.n_runs

    def workload_names(self) -> tuple[str, ...]:
        """Return the workloads of the first part."""
        return self.parts[self.lead].workload_names()

    def workload(self, name: str | Path) -> Workload:
        """Return a workload of the first part."""
        return self.parts[self.lead].workload(name)

    def describe_workload(self, workload: Workload) -> Mapping[str, tuple[float | str, str]]:
        """Return characteristics of a workload: name to (value, unit)."""
        return facts_about(self.parts[self.lead], workload)

    def widened(self, names: Sequence[str]) -> Self:
        """Return the composition of parts with the widest ranges of some parameters."""
        wide: dict[str, list[str]] = {}
        for name in names:
            wide.setdefault(split(name)[0], []).append(split(name)[1])
        made = copy(self)
        made.join({n: widened(p, wide[n]) if n in wide else p for n, p in self.parts.items()})
        return made

    def opened(self, indices: np.ndarray, cost: str | None = None) -> dict[str, Part]:
        """Return the parts of a joint design.

        Args:
          indices: (n_parameters,), a canonical design of the joint space.
          cost: Cost that is not paid, with its part's name.
        """
        owner, own = split(cost) if cost is not None else ("", "")
        found = {}
        for name, simulator in self.parts.items():
            design = self.of_part(name, indices[None, :])[0]
            without = own if name == owner else None
            found[name] = Part(name, simulator, design, without, self._memory)
        return found

    def of_part(self, name: str, indices: np.ndarray) -> np.ndarray:
        """Return designs of a part in its own space, (n, n_parameters of the part).

        Args:
          name: Name of the part.
          indices: (n, n_parameters), designs of the joint space.
        """
        columns, places = self._columns[name]
        found = np.tile(self.parts[name].space.default_indices, (len(indices), 1))
        found[:, places] = indices[:, columns]
        return found

    def different(self, name: str, indices: np.ndarray) -> tuple[list[Part], np.ndarray]:
        """Return a part of each different design of it, and which of them designs have, (n,).

        Args:
          name: Name of the part.
          indices: (n, n_parameters), designs of the joint space.
        """
        own = indices[:, self._columns[name][0]]
        _, first, which = np.unique(own, axis=0, return_index=True, return_inverse=True)
        return [self.opened(row)[name] for row in indices[first]], which.ravel()

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return results of designs that are known to be canonical and feasible in the space."""
        return self._rows(indices, workload, None)

    def simulate_without(self, cost: str, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return results as `simulate`, of a machine in which a part does not pay a cost."""
        return self._rows(indices, workload, cost)

    def _rows(self, indices: np.ndarray, workload: Workload, cost: str | None) -> BatchResult:
        values = np.full((len(indices), len(self.spec.simulated_metrics)), np.nan)
        reason = np.zeros(len(indices), dtype=np.int16)
        failures: dict[int, str] = {}
        for row, design in enumerate(indices):
            parts = self.opened(design, cost)
            try:
                joint: Mapping[str, float] | str = self.couple(parts, workload)
            except PartInfeasible as found:
                joint = str(found)
            except SimulatorError as error:
                reason[row], failures[row] = FAILED, str(error)
                continue
            if isinstance(joint, str):
                reason[row] = self._reason(joint)
            else:
                values[row] = self._numbers(joint, parts)
        return BatchResult(values, reason, failures)

    def _reason(self, text: str) -> int:
        if text not in self.spec.model_reasons:
            raise SimulatorError(
                f"`couple` of {self.name!r} must give one of its reasons, "
                f"{list(self.own_reasons)!r}; got {text!r}."
            )
        return 1 + self.spec.model_reasons.index(text)

    def _numbers(self, joint: Mapping[str, float], parts: Mapping[str, Part]) -> list[float]:
        """Return the values of a design in the order of the metrics that are not derived."""
        found = dict(joint)
        for name, part in parts.items():
            if part.metrics is None:
                raise SimulatorError(
                    f"`couple` of {self.name!r} must run part {name!r}, or report its metrics."
                )
            found |= {within(name, own): value for own, value in part.metrics.items()}
        missing = [spec.name for spec in self.spec.simulated_metrics if spec.name not in found]
        if missing:
            raise SimulatorError(
                f"`couple` of {self.name!r} must return or report every metric; "
                f"{', '.join(missing)} missing."
            )
        values = [found[spec.name] for spec in self.spec.simulated_metrics]
        for spec, value in zip(self.spec.simulated_metrics, values, strict=True):
            # A larger number has no finite square, and products of metrics are metrics too.
            if not isinstance(value, int | float | np.number) or not abs(value) < _MOST:
                raise SimulatorError(
                    f"`couple` of {self.name!r} must return numbers below {_MOST:g} in size; "
                    f"{spec.name} is {value!r:.40}."
                )
        return [float(value) for value in values]

    def expressible(self, form: str) -> Mapping[str, Sequence[Any]]:
        """Return the values that a part's format can express, by parameter that it lacks some of.

        Args:
          form: Name of the part and its format.
        """
        name, own = split(form)
        return {within(name, n): values for n, values in expressible(self.parts[name], own).items()}

    def export(self, form: str, indices: np.ndarray, workload: Workload) -> Files:
        """Return a part of a design in the format of another tool.

        Raises:
          InvalidDesignError: The design cannot be built, or the format cannot express the part.
        """
        name, own = split(form)
        parts = self.opened(indices)
        try:
            self.couple(parts, workload)
        except PartInfeasible as found:
            raise InvalidDesignError(f"The design cannot be built: {found}.") from None
        part = parts[name]
        return exported(part.simulator, own, part.indices, part.workload or workload)


def _made(kind: str, choices: Mapping[str, str]) -> Simulator:
    """Return the simulator of a part with its options, space and fidelity."""
    options = {name: text for name, text in choices.items() if name not in _CHOICES}
    return make_simulator(
        simulator_class(kind), choices.get("space"), choices.get("fidelity"), options
    )


def _changed(made: Simulator, usual: Simulator, given: Mapping[str, str]) -> dict[str, str]:
    """Return the options of a part that differ from its usual ones, as an id states them."""
    now, before = recorded_choices(made), recorded_choices(usual)
    known = (*_CHOICES, *option_names(type(made)))
    return {
        name: now.get(name, given.get(name, ""))
        for name in known
        if now.get(name) != before.get(name) and (name in now or name in given)
    }


def recorded_choices(made: Simulator) -> dict[str, str]:
    """Return the choices that make a part's simulator again: options, space and fidelity."""
    space = split_space(made.space.name)[0] or made.spec.space_names[0]
    return {**made.options, "space": space, "fidelity": made.fidelity}


def _total(specs: Sequence[MetricSpec], quantity: str) -> MetricSpec | None:
    """Return the metric that is the whole of a quantity; None if there is none."""
    factors = _QUANTITIES[quantity][1]
    for spec in specs:
        stem = spec.name.removeprefix("total_").removeprefix("mean_")
        if spec.unit in factors and (stem == quantity or stem.rpartition("_")[0] == quantity):
            return spec
    return None


def _all(groups: Any) -> tuple[Any, ...]:
    return tuple(each for group in groups for each in group)
