"""Accelerator simulator: networks on accelerators, or mappings of one layer."""

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, final

import numpy as np

from archgym.physics.economics import (
    NODES,
    ChipUse,
)
from archgym.simulators.accelerator.costs import ARITHMETIC, COSTS, RELIEF, network_without, without
from archgym.simulators.accelerator.formats.export import (
    ARCHITECTURE,
    FORMATS,
    architecture_files,
    architecture_settings,
    expressible_mapping,
    shared_dimensions,
    timeloop_files,
)
from archgym.simulators.accelerator.formats.files import ARCHITECTURES
from archgym.simulators.accelerator.formats.scale_sim import (
    SCALE_SIM,
    SCALE_SIM_DOC,
    scale_sim_files,
    scale_sim_settings,
)
from archgym.simulators.accelerator.formats.traffic import TRAFFIC, TRAFFIC_DOC, traffic_files
from archgym.simulators.accelerator.kernel.evaluation import COUNT_MODES, evaluate_mappings
from archgym.simulators.accelerator.kernel.systolic import DEFAULT_OBJECTIVE as SYSTOLIC_OBJECTIVE
from archgym.simulators.accelerator.kernel.systolic import METRICS as SYSTOLIC_METRICS
from archgym.simulators.accelerator.kernel.systolic import OBJECTIVES as SYSTOLIC_OBJECTIVES
from archgym.simulators.accelerator.kernel.systolic import (
    SYSTOLIC,
    systolic_results,
    systolic_space,
)
from archgym.simulators.accelerator.kernel.tiles import (
    BUFFERED,
    buffered_results,
    buffered_space,
)
from archgym.simulators.accelerator.kernel.tiles import DEFAULT_OBJECTIVE as BUFFERED_OBJECTIVE
from archgym.simulators.accelerator.kernel.tiles import METRICS as BUFFERED_METRICS
from archgym.simulators.accelerator.kernel.tiles import OBJECTIVES as BUFFERED_OBJECTIVES
from archgym.simulators.accelerator.machine.architecture import Architecture
from archgym.simulators.accelerator.machine.energy import node_shares
from archgym.simulators.accelerator.machine.mapping import Mapping as LayerMapping
from archgym.simulators.accelerator.machine.mapping import mapping_from_arrays
from archgym.simulators.accelerator.mapping.mapper import OBJECTIVES as MAPPER_OBJECTIVES
from archgym.simulators.accelerator.mapping.mapper import Search, cached_cost, find_mapping
from archgym.simulators.accelerator.mapping.space import (
    MappingSpace,
    gamma_area_mm2,
    mapping_bounds,
)
from archgym.simulators.accelerator.metrics import (
    METRICS,
    at_node,
    metric_values,
    objectives,
)
from archgym.simulators.accelerator.problem import OUTPUTS, WEIGHTS, Problem
from archgym.simulators.accelerator.space import (
    DEFAULT_LAYER,
    FIXED_ORDERS,
    GROUPS,
    HARDWARE_SPACES,
    MAPPING_SPACES,
    PUBLISHED,
    hardware_at,
    hardware_space,
    machine_of,
    mappings_of_layer,
)
from archgym.simulators.accelerator.workloads import NETWORKS, Network, layer_named, load_network
from archgym.simulators.kit import (
    FEASIBLE,
    BatchResult,
    Columns,
    Files,
    InvalidArgumentError,
    InvalidDesignError,
    Laws,
    Option,
    RowSimulator,
    SimulatorSpec,
    Workload,
    declared,
    require_kept,
    unknown_name,
)
from archgym.simulators.kit.exports import stated

# Mappings that each layer's search evaluates. chosen: the default takes about 7 ms per layer; the
# README has the loss of the other one.
_TRIES: Final = {"standard": 4_000, "fast": 1_000}
_COLUMNS: Final = [spec.name for spec in METRICS if spec.formula is None]
_LIMITED: Final = {name: _COLUMNS.index(name) for name in ("area_mm2", "power_mw")}
_WORK: Final = "cycles are the operations over the units"
_MOVED: Final = "DRAM moves each weight and output once"
_require = partial(require_kept, "accelerator")
# chosen: more than any network has.
_MAX_LAYERS: Final = 99_999


@final
class AcceleratorSimulator(RowSimulator):
    """DNN accelerators with Timeloop's counts of accesses.

    In the spaces of hardware a design is an accelerator and a workload is a network; the mapper
    maps each layer. In the spaces of mappings a design is a mapping of one layer. In the spaces
    `systolic` and `systolic-buffered` it is a systolic array, without memories or with three
    buffers, with metrics of its own.
    """

    spec = SimulatorSpec(
        name="accelerator",
        title="Accelerator",
        compared=(
            "equal to Timeloop on 1,336 mappings and to SCALE-Sim on 30 runs; not "
            "compared with silicon"
        ),
        version=1,
        # Measured with the benchmark's tasks; see archgym/bench/data/hardness.jsonl.
        evaluation_s=0.1,
        evaluation_s_of={
            SYSTOLIC: 1e-4,
            BUFFERED: 3e-3,
            **dict.fromkeys(MAPPING_SPACES, 1e-5),
        },
        space_names=(
            *HARDWARE_SPACES,
            *MAPPING_SPACES,
            SYSTOLIC,
            BUFFERED,
        ),
        fidelity_names=tuple(_TRIES),
        faster_fidelity="fast",
        table_space="mapping-table",
        metrics=METRICS,
        objectives=objectives(has_precision=True),
        # Without a limit of area the largest array wins.
        default_objective="edp-at-eyeriss-area",
        costs=COSTS,
        exports={**FORMATS, TRAFFIC: TRAFFIC_DOC},
        partial_exports=(ARCHITECTURE, TRAFFIC),
        relief=RELIEF,
        model_reasons=(
            "no mapping of some layer was found that fits",
            "CACTI refuses the global buffer: its banks are too small",
            "the area is above the limit",
            "the power is above the limit",
            "tiles exceed a level's capacity",
            "more instances are used along one axis than there are",
            "more instances are used than there are",
        ),
    )

    @declared
    def __init__(
        self,
        space: str = "default",
        fidelity: str = "standard",
        counts: Annotated[str, Option("Counts of accesses.", choices=COUNT_MODES)] = "timeloop",
        mapper: Annotated[
            str, Option("Quantity that the mapper minimises.", choices=MAPPER_OBJECTIVES)
        ] = "edp",
        area_mm2: Annotated[
            float,
            Option(
                "Largest area of a design at its node [mm2]. In spaces of hardware the default "
                "design shrinks until it fits.",
                low=1e-6,
                unit="mm2",
                word="none",
            ),
        ] = math.inf,
        power_mw: Annotated[
            float, Option("Largest power of a design [mW].", low=1e-6, unit="mW", word="none")
        ] = math.inf,
        layer: Annotated[
            str, Option("Layer in spaces of mappings, as NETWORK/LAYER.")
        ] = DEFAULT_LAYER,
        architecture: Annotated[
            str,
            Option("Accelerator in the space `mapping`.", choices=ARCHITECTURES, takes_file=True),
        ] = "",
        layers: Annotated[
            int,
            Option(
                "Layers of a network that run, those with the most operations; all by default. Few "
                "layers rank designs much as all do, in a fraction of the time. Spaces of mappings "
                "have one layer and no such option.",
                low=1,
                high=_MAX_LAYERS,
            ),
        ] = 0,
        node: Annotated[
            str,
            Option(
                "Technology node of area, energy, price and carbon. Mappings are those of 45 nm.",
                choices=tuple(NODES),
            ),
        ] = "",
        *,
        use: ChipUse,
    ) -> None:
        """Initialise the simulator for one space and fidelity.

        Args:
          space: One of `space_names`.
          fidelity: Number of mappings that the mapper evaluates; no effect in spaces of mappings.
          counts: As its `Option` says; so do the others.
          node: As its `Option` says; in spaces of hardware. 45 nm without one.

        Raises:
          UnknownNameError: The space, fidelity, mode, layer, architecture, node or grid does not
            exist.
          InvalidArgumentError: An option is outside its limits, `layers` does not apply, or no
            default design fits.
        """
        self._counts, self._mapper, self._layer = counts, mapper, layer
        self._limits, self._n_layers = (area_mm2, power_mw), layers
        self._mappings: MappingSpace | None = None
        self._node = node
        if node and space not in HARDWARE_SPACES:
            raise InvalidArgumentError(
                f"`node` must be left out in space {space!r}, whose designs have no price; "
                f"got {node!r}. Use space default."
            )
        if layers and space in MAPPING_SPACES:
            raise InvalidArgumentError(
                f"`layers` must be left out in space {space!r}, whose designs map one layer; "
                f"got {layers}. Choose it with `layer`."
            )
        if space in (SYSTOLIC, BUFFERED):
            self.spec = self._systolic(space)
            return
        if space in HARDWARE_SPACES:
            designs = hardware_space(space, area_mm2, node)
        else:
            self._mappings = mappings_of_layer(space, layer, architecture)
            designs = self._mappings.space
        has_area = self._mappings is not None or min(self._limits) < math.inf
        self.spec = self.spec.completed(
            space=designs,
            metrics=(*at_node(node), *use.metrics(node)),
            objectives=objectives(has_precision="precision_bits" in designs.names),
            # The area is that of the architecture, or an option's.
            default_objective="edp" if has_area else self.spec.default_objective,
            groups=GROUPS if space == "default" else {},
            evaluation_s=self.spec.evaluation_s_of.get(space, self.spec.evaluation_s),
        )

    def _systolic(self, space: str) -> SimulatorSpec:
        """Return the declaration of systolic arrays."""
        if min(self._limits) < math.inf:
            raise InvalidArgumentError(
                f"`area_mm2` and `power_mw` must be left out in space {space!r}, whose arrays "
                "have no such options. Limit metrics instead, such as `units`."
            )
        is_plain = space == SYSTOLIC
        return self.spec.completed(
            space=systolic_space() if is_plain else buffered_space(),
            metrics=SYSTOLIC_METRICS if is_plain else BUFFERED_METRICS,
            objectives=SYSTOLIC_OBJECTIVES if is_plain else BUFFERED_OBJECTIVES,
            default_objective=SYSTOLIC_OBJECTIVE if is_plain else BUFFERED_OBJECTIVE,
            evaluation_s=self.spec.evaluation_s_of[space],
            model_reasons=(),
            costs={},
            relief={},
            exports={SCALE_SIM: SCALE_SIM_DOC} if is_plain else {},
            groups={},
        )

    def workload_names(self) -> tuple[str, ...]:
        """Return the built-in networks, or the layer of a space of mappings."""
        if self._mappings is not None:
            return (self._layer,)
        if self.space.name == PUBLISHED:
            # The published networks; grouped and depthwise layers are not supported.
            return ("alexnet-convolutions", "vgg-16", "resnet-50")
        return NETWORKS

    def workload(self, name: str | Path) -> Workload:
        """Return the built-in network with this name, or the table of layers at this path.

        Raises:
          UnknownNameError: The name is neither.
          FileFormatError: The file is not a table of layers.
        """
        if self._mappings is None:
            network = load_network(name)
            if self._n_layers:
                network = network.largest(self._n_layers)
        elif str(name) != self._layer:
            raise unknown_name("workload", str(name), (self._layer,))
        else:
            network = Network(self._layer, (layer_named(self._layer),), "")
        made = Workload(network.name, network.digest, network)
        self._check_limits(made)
        return made

    def _check_limits(self, workload: Workload) -> None:
        """Raise an error if the default design, to which rewards are relative, exceeds a limit."""
        if min(self._limits) == math.inf:
            return
        given: dict[str, Any] = {k: v for k, v in self.arguments.items() if k not in _LIMITED}
        free = AcceleratorSimulator(**given)
        default = free.simulate(self.space.default_indices[None, :], workload).values[0]
        for (name, column), limit in zip(_LIMITED.items(), self._limits, strict=True):
            if default[column] > limit:
                smaller = "" if self._mappings else " A smaller `area_mm2` gives a smaller one."
                raise InvalidArgumentError(
                    f"`{name}` must be at least {default[column]:.6g}, the value of the default "
                    f"design on {workload.name}, to which rewards are relative; got {limit:g}."
                    f"{smaller}"
                )

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Evaluate designs that are canonical and feasible in the space."""
        if self.space.name == SYSTOLIC:
            return systolic_results(self.space, indices, workload.content)
        if self.space.name == BUFFERED:
            return buffered_results(self.space, indices, workload.content)
        if self._mappings is not None:
            return self._simulate_mappings(self._mappings, indices)
        return super().simulate(indices, workload)

    def bounds(self, partial: np.ndarray, workload: Workload) -> np.ndarray:
        """Return energy, latency and their product that no mapping with these choices betters."""
        found = np.full((len(partial), len(self.metrics)), np.nan)
        if self._mappings is not None and self._mappings.limit is None:
            energy, cycles = mapping_bounds(self._mappings, partial)
            fits = np.isfinite(energy)
            area = self._mappings.architecture.area_um2 / 1e6
            values = metric_values(energy[fits], cycles[fits], area, np.nan, 0.0, np.nan, np.nan)
            found[~fits, : len(_COLUMNS)] = np.inf
            found[fits, : len(_COLUMNS)] = values
            for name in ("power_mw", "utilisation_percent"):
                found[:, _COLUMNS.index(name)] = np.nan
        return found

    def simulate_without(self, cost: str, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Evaluate designs with the mappings of `simulate` on a machine without one of `costs`.

        Limits are those of the real machine. Without arithmetic, utilisation is that of the real
        machine too, since it is undefined for units that take no time.
        """
        paid = self.simulate(indices, workload)
        rows = np.flatnonzero(paid.reason == FEASIBLE)
        values = np.full_like(paid.values, np.nan)
        if len(rows):
            energy, cycles, dram = (
                self._hardware_without(cost, indices[rows], workload.content)
                if self._mappings is None
                else self._mappings_without(cost, self._mappings, indices[rows])
            )
            used = paid.values[rows, _COLUMNS.index("utilisation_percent")]
            if cost != ARITHMETIC:
                used = used * paid.values[rows, _COLUMNS.index("latency_cycles")] / cycles
            area = paid.values[rows, _LIMITED["area_mm2"]]
            bits = paid.values[rows, _COLUMNS.index("operand_bits")]
            estimated = paid.values[rows, _COLUMNS.index("estimated_memories")]
            values[rows] = metric_values(energy, cycles, area, used, dram, bits, estimated)
        return BatchResult(values, paid.reason)

    def check(self, values: np.ndarray, workload: Workload) -> None:
        """Check that energy, power and latency of the results agree.

        Raises:
          SimulatorError: An invariant is violated; the message has the difference.
        """
        if self.space.name in (SYSTOLIC, BUFFERED):
            return
        column = dict(zip((spec.name for spec in self.metrics), values.T, strict=True))
        product = column["energy_uj"] * column["latency_ms"]
        _require("energy x latency is the EDP", column["edp_nj_s"], product)
        energy = column["power_mw"] * column["latency_ms"]
        _require("power x latency is energy", energy, column["energy_uj"])
        least = np.minimum(column["dram_energy_uj"], column["energy_uj"])
        _require("DRAM's energy is a part of all", column["dram_energy_uj"], least)

    def laws(self, indices: np.ndarray, column: Columns, workload: Workload) -> Laws:
        """Return laws of conservation for evaluated designs; see `Simulator.laws`."""
        layers = [(each.count, each.problem) for each in workload.content.layers]
        if self._mappings is not None:
            layers = [(1, self._mappings.problem)]
        operations = float(sum(count * problem.n_operations for count, problem in layers))
        # Inputs that strides skip need not move, so that weights and outputs alone are sure.
        weights, outputs = (
            float(sum(count * problem.tensor_size(tensor) for count, problem in layers))
            for tensor in (WEIGHTS, OUTPUTS)
        )
        cycles, energy = column["latency_cycles"], column.get("energy_uj", np.zeros(0))
        if self.space.name in (SYSTOLIC, BUFFERED):
            design = self.space.columns(indices)
            units = design["array_height"] * design["array_width"]
            moved = column.get("dram_bytes", np.full(len(units), weights + outputs))
            return {_WORK: (cycles, operations / units), _MOVED: (moved, weights + outputs)}
        built = [
            self._hardware(row) if self._mappings is None else self._mappings.architecture
            for row in indices
        ]
        macs = [each.mac for each in built if each is not None]
        drams = [each.levels[-1] for each in built if each is not None]
        units = np.array([mac.instances for mac in macs])
        if self._mappings is not None and self._mappings.limit is not None:
            units = self._mappings.limit(indices)
        words = [
            max(weights / (d.read_bandwidth or np.inf), outputs / (d.write_bandwidth or np.inf),
                (weights + outputs) / (d.shared_bandwidth or np.inf)) / d.instances
            for d in drams
        ]  # fmt: skip
        dram = [(weights * d.read_energy_pj + outputs * d.write_energy_pj) / d.block for d in drams]
        dram_uj, mac_pj = np.array(dram) / 1e6, np.array([mac.energy_pj for mac in macs])
        mac_uj = self._energy_pj(mac_pj, 0.0) * operations / 1e6
        return {
            _WORK: (cycles, operations / units),
            "cycles are the words over DRAM's bandwidth": (cycles, np.array(words)),
            _MOVED: (column["dram_energy_uj"], dram_uj),
            "energy is that of DRAM and operations": (energy, dram_uj + mac_uj),
        }

    def export(self, form: str, indices: np.ndarray, workload: Workload) -> Files:
        """Return the architecture of a design, for Timeloop with mappings, or its traffic.

        Raises:
          InvalidDesignError: A layer has no mapping, or Timeloop cannot express the accelerator.
        """
        if form == SCALE_SIM:
            design = self.space.design_at(indices)
            return scale_sim_files(design, workload.content, stated(self, indices, workload))
        built, layers = self.mapped(indices, workload, maps_layers=form != ARCHITECTURE)
        if form == ARCHITECTURE:
            return architecture_files(built, layers)
        if form == TRAFFIC:
            return traffic_files(built, layers, self._counts)
        ratios = [1.0] * len(layers)
        for place, (name, problem, mapping) in enumerate(layers):
            if self._mappings is None and shared_dimensions(mapping):
                chosen_on = self._hardware(indices) or built
                other, ratios[place] = expressible_mapping(problem, chosen_on, self.search)
                if other is None:
                    raise InvalidDesignError(
                        f"No mapping of layer {name!r} was found that Timeloop can express."
                    )
                layers[place] = (name, problem, other)
        return timeloop_files(built, layers, ratios)

    def file_settings(
        self, form: str, indices: np.ndarray, workload: Workload
    ) -> Mapping[str, Any]:
        """Return what files say of an array or an accelerator; see `Stating.file_settings`."""
        if form == SCALE_SIM:
            return scale_sim_settings(self.space.design_at(indices))
        if self._mappings is not None:
            raise InvalidDesignError("A mapping of one accelerator is not read from its files.")
        if not self.space.feasible(np.asarray(indices)[None, :])[0]:
            raise InvalidDesignError("The design breaks a constraint of its space.")
        built, _ = self.mapped(indices, workload, maps_layers=False)
        return architecture_settings(form, built)

    def mapped(
        self, indices: np.ndarray, workload: Workload, *, maps_layers: bool = True
    ) -> tuple[Architecture, list[tuple[str, Problem, LayerMapping]]]:
        """Return the accelerator of a design, and each layer with the mapping that it runs.

        Args:
          indices: (n_parameters,), a feasible design.
          workload: The network, or the layer of a space of mappings.
          maps_layers: False for the accelerator alone; a space of mappings has its layer anyway.

        Raises:
          InvalidDesignError: The accelerator cannot be built, or no mapping of a layer was found.
        """
        if self._mappings is not None:
            arrays = self._mappings.arrays(np.asarray(indices)[None, :])
            problem = self._mappings.problem
            mapping = mapping_from_arrays(problem, arrays, 0)
            return self._mappings.architecture, [(self._layer, problem, mapping)]
        built = self._hardware(indices)
        if built is None:
            raise InvalidDesignError(
                f"The design has no accelerator: {self.spec.model_reasons[1]}."
            )
        layers: list[tuple[str, Problem, LayerMapping]] = []
        network: Network = workload.content
        for layer in network.layers if maps_layers else ():
            found = find_mapping(layer.problem, built, self.search).mapping
            if found is None:
                raise InvalidDesignError(f"No mapping of layer {layer.name!r} was found that fits.")
            layers.append((layer.name, layer.problem, found))
        return hardware_at(built, self._node), layers

    def describe_workload(self, workload: Workload) -> Mapping[str, tuple[float | str, str]]:
        """Return statistics of a network: name to (value, unit)."""
        network: Network = workload.content
        return {
            "layers": (float(sum(layer.count for layer in network.layers)), ""),
            "different_shapes": (float(len(network.layers)), ""),
            "multiply_accumulates": (float(network.n_operations), ""),
            "weights": (float(network.n_weights), "words"),
            **({"source": (network.source, "")} if network.source else {}),
        }

    # ---- hardware

    def measure(self, indices: np.ndarray, opened: Network, cost: str | None) -> np.ndarray | str:
        """Return the metrics of one accelerator on a network, or why it has none."""
        built = self._hardware(indices)
        if built is None:
            return self.spec.model_reasons[1]
        area = hardware_at(built, self._node).area_um2 / 1e6
        if area > self._limits[0]:
            return self.spec.model_reasons[2]
        energy = cycles = dram = 0.0
        for layer in opened.layers:
            found = cached_cost(layer.problem, built, self.search)
            if not np.isfinite(found[0]):
                return self.spec.model_reasons[0]
            energy += layer.count * found[0]
            cycles += layer.count * found[1]
            dram += layer.count * found[2]
        used = 100.0 * opened.n_operations / built.mac.instances / cycles
        bits = built.levels[-1].word_bits
        energy = self._energy_pj(energy, dram)
        metrics = metric_values(energy, cycles, area, used, dram, bits, built.n_estimated)
        if metrics[_LIMITED["power_mw"]] > self._limits[1]:
            return self.spec.model_reasons[3]
        return metrics

    def _hardware(self, indices: np.ndarray) -> Architecture | None:
        """Return the accelerator of a design at 45 nm; None if CACTI rejects its buffer."""
        return machine_of(self.space.name, dict(self.space.design_at(indices)))

    def _energy_pj(self, energy: Any, dram: Any) -> Any:
        """Return energy at the node; all of it but DRAM's scales alike."""
        return dram + node_shares(self._node)[2] * (energy - dram) if self._node else energy

    @property
    def search(self) -> Search:
        """Settings of the search for each layer's mapping."""
        orders = FIXED_ORDERS if self.space.name == PUBLISHED else None
        return Search(self._mapper, _TRIES[self.fidelity], 0, self._counts, orders)

    def _hardware_without(
        self, cost: str, indices: np.ndarray, network: Network
    ) -> tuple[np.ndarray, ...]:
        """Return energy [pJ], cycles and DRAM's energy [pJ] of accelerators, each (n,)."""
        rows = []
        for design in indices:
            built = self._hardware(design)
            assert built is not None, "the design was built"
            rows.append(network_without(cost, network, built, self.search))
        energy, cycles, dram = np.array(rows).T
        return self._energy_pj(energy, dram), cycles, dram

    # ---- mappings

    def _mappings_without(
        self, cost: str, mappings: MappingSpace, indices: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """Return energy [pJ], cycles and DRAM's energy [pJ] of mappings, each (n,)."""
        problem, built = mappings.problem, mappings.architecture
        found = evaluate_mappings(problem, built, mappings.arrays(indices), self._counts)
        limit = mappings.limit
        n_units = built.mac.instances if limit is None else limit(indices)
        return without(cost, problem, built, found, n_units)

    def _simulate_mappings(self, mappings: MappingSpace, indices: np.ndarray) -> BatchResult:
        arrays = mappings.arrays(indices)
        architecture, problem = mappings.architecture, mappings.problem
        found = evaluate_mappings(problem, architecture, arrays, self._counts)
        # A status is 16 x level + the violated limit: capacity, X, Y or all instances.
        reason = np.array([0, 5, 6, 6, 7, 1], dtype=np.int16)[found.status % 16]
        area = np.full(len(indices), architecture.area_um2 / 1e6)
        energy, cycles = found.totals[:, 0], found.totals[:, 1]
        n_units = np.full(len(indices), float(architecture.mac.instances))
        if mappings.limit is not None:
            n_units = mappings.limit(indices).astype(np.float64)
            used = arrays.factors[:, :, 1:].prod(axis=(1, 2, 3))
            reason = np.where((reason == 0) & (used > n_units), 7, reason).astype(np.int16)
            words = found.counts[:, :, :, 3].sum(axis=2)
            area = gamma_area_mm2(words[:, 0], words[:, 2], n_units)
        utilisation = 100.0 * problem.n_operations / n_units / cycles
        dram = found.energies[:, -1].sum(axis=1)
        bits = architecture.levels[-1].word_bits
        values = metric_values(
            energy, cycles, area, utilisation, dram, bits, architecture.n_estimated
        )  # fmt: skip
        for limit, column, number in zip(self._limits, _LIMITED.values(), (3, 4), strict=True):
            over = (reason == 0) & (values[:, column] > limit)
            reason[over] = number
        values[reason != 0] = np.nan
        return BatchResult(values, reason)
