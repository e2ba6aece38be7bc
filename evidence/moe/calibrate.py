"""Fit of the routing generator to published or measured locality of a model.

python -m evidence.moe.calibrate EXPERTS TOP_K lru@1=0.43 lru@2=0.61 belady@2=0.78 srp@16=0.51
"""

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from archgym.checks import check_whole
from archgym.errors import InvalidArgumentError
from archgym.simulators.moe.workloads.routing import Routing, RoutingPreset, generate
from evidence.moe.locality import hit_rates, segment_routing

# chosen: the length of documents in arXiv 2505.16056, whose numbers the presets are fitted to.
DOCUMENT_TOKENS: Final = 512
# chosen: four layers of twelve documents; the standard error of a hit rate is then about 0.3
# points, a fraction of the residual.
_DOCUMENTS: Final = 12
_LAYERS: Final = 4
_NAME = re.compile(r"(lru|lfu|belady)@([0-9.]+)|sch([0-9]+)@([0-9.]+)|srp@([0-9]+)")
_MAX_WINDOW: Final = 4096

# Fitted numbers, with the least and largest that are tried. chosen: beyond them two different
# numbers give the same routing.
_RANGES: Final = {
    "skew": (0.0, 3.0),
    "topic": (0.0, 5.0),
    "persistence": (0.0, 0.98),
}
# Published curves are of one cache for some thirty layers, where what must be kept for the sake of
# the token that used it is little; with the few layers drawn here, only bypass makes it as little.
_RULES: Final = {"belady": "belady-bypass"}


@final
@dataclass(frozen=True)
class Target:
    """A number that the generator should give.

    Attributes:
      name: Such as ``lru@2``, the hit rate of LRU with room for twice the experts of a token;
        ``sch16@2``, the same with 16 tokens of look-ahead; ``srp@16``, segments of 16 tokens.
      rule: lru, lfu, belady, sch or srp.
      ratio: Room over experts of a token; 0 for srp.
      window: Tokens of a segment; 0 where there is none.
    """

    name: str
    rule: str
    ratio: float
    window: int


def target(name: str) -> Target:
    """Return the target with this name.

    Raises:
      InvalidArgumentError: The text is not a target.
    """
    match = _NAME.fullmatch(name)
    try:
        if match is None:
            raise ValueError
        if match[1]:
            found = Target(name, match[1], float(match[2]), 0)
        elif match[3]:
            found = Target(name, "sch", float(match[4]), int(match[3]))
        else:
            return Target(name, "srp", 0.0, check_whole("window", int(match[5]), 1, _MAX_WINDOW))
        if not 0 < found.ratio <= 1000 or found.window > _MAX_WINDOW:
            raise ValueError
    except ValueError:
        raise InvalidArgumentError(
            "A target must read lru@R, lfu@R, belady@R, schM@R or srp@M, with room R in experts "
            f"of a token and segments of M tokens; got {name!r}."
        ) from None
    return found


def measure(routing: Routing, targets: list[Target]) -> npt.NDArray[np.float64]:
    """Return the statistics of a routing that targets name, (n_targets,).

    Caches are shared by all layers, as published; segments are of the layers' mean.

    Raises:
      InvalidArgumentError: Every document is shorter than a target's segment.
    """
    values = np.empty(len(targets))
    pooled = pooled_layers(routing)
    for place, item in enumerate(targets):
        if item.rule == "srp":
            found = [segment_routing(routing, n, item.window) for n in range(routing.n_layers)]
            known = [each.performance for each in found if each is not None]
            if not known:
                raise InvalidArgumentError(
                    f"{item.name!r} needs documents of {item.window} tokens or more."
                )
            values[place] = np.mean(known)
        else:
            size = max(1, round(item.ratio * pooled.top_k))
            rule = _RULES.get(item.rule, item.rule)
            values[place] = hit_rates(pooled, 0, rule, [size], item.window)[0]
    return values


@final
@dataclass(frozen=True)
class Calibration:
    """A fitted preset and how well it does on documents that it was not fitted on.

    Attributes:
      preset: The process.
      names: Names of the targets.
      wanted: (n_targets,) their values.
      given: (n_targets,) the generator's, on fresh seeds.
      evaluations: Processes that were tried.
    """

    preset: RoutingPreset
    names: tuple[str, ...]
    wanted: npt.NDArray[np.float64]
    given: npt.NDArray[np.float64]
    evaluations: int

    @property
    def rmse(self) -> float:
        """Root of the mean squared difference, over all targets."""
        return float(np.sqrt(np.mean((self.wanted - self.given) ** 2)))


def calibrate(
    name: str,
    n_experts: int,
    top_k: int,
    wanted: Mapping[str, float],
    *,
    seed: int = 0,
    budget: int = 240,
    progress: Callable[[int, float], None] | None = None,
) -> Calibration:
    """Fit skew, topic and persistence.

    The same random numbers serve every trial, so that the misfit is smooth in the parameters;
    the result is measured on other seeds.

    Args:
      name: Name of the preset.
      n_experts: Experts of a layer.
      top_k: Experts of a token.
      wanted: Values by names of targets, each from 0 to 1.
      seed: Random seed of the search and its documents.
      budget: Trials.
      progress: Called with the trials so far and the best misfit.

    Raises:
      InvalidArgumentError: A target is not valid, or fewer targets than parameters are given.
    """
    from scipy.optimize import minimize

    targets = [target(key) for key in wanted]
    shares = np.array(list(wanted.values()), dtype=np.float64)
    if not ((shares >= 0) & (shares <= 1)).all():
        raise InvalidArgumentError("Targets must be from 0 to 1, as shares; got another number.")
    names = tuple(_RANGES)
    if len(targets) < len(names):
        raise InvalidArgumentError(
            f"Targets (`--target`) must be at least {len(names)}, for as many numbers to fit; got "
            f"{len(targets)}. Give more, such as --target lru@2=0.61."
        )
    base = RoutingPreset(name, n_experts, top_k, 0.0, 0.0, 0.0)
    count = [0, np.inf]

    def misfit(point: npt.NDArray[np.float64]) -> float:
        values: dict[str, Any] = dict(zip(names, map(float, point), strict=True))
        preset = replace(base, **values)
        error = float(np.sqrt(np.mean((measure(_drawn(preset, seed), targets) - shares) ** 2)))
        count[0] += 1
        count[1] = min(count[1], error)
        if progress is not None:
            progress(int(count[0]), float(count[1]))
        return error

    bounds = [_RANGES[key] for key in names]
    best, best_error = None, np.inf
    # chosen: two starts of different character; Nelder-Mead may stop in a corner.
    starts = ([0.2, 0.4, 0.2], [0.02, 1.0, 0.4])
    for start in starts:
        found = minimize(
            misfit,
            np.array(start),
            method="Nelder-Mead",
            bounds=bounds,
            options={"maxfev": max(20, budget // len(starts)), "xatol": 2e-3, "fatol": 2e-5},
        )
        if found.fun < best_error:
            best, best_error = found.x, float(found.fun)
    assert best is not None
    rounded: dict[str, Any] = {
        key: round(float(value), 3) for key, value in zip(names, best, strict=True)
    }
    preset = replace(base, **rounded)
    given = np.mean([measure(_drawn(preset, seed + fresh), targets) for fresh in (1, 2, 3)], axis=0)
    return Calibration(preset, tuple(wanted), shares, given, int(count[0]))


def _drawn(preset: RoutingPreset, seed: int) -> Routing:
    check_whole("seed", seed, 0)
    return generate(preset, seed, [DOCUMENT_TOKENS] * _DOCUMENTS, _LAYERS)


def main() -> None:
    """Fit the process to targets of the command line, and print its numbers."""
    experts, top_k, *texts = sys.argv[1:]
    wanted = {name: float(value) for name, value in (text.split("=") for text in texts)}
    found = calibrate("fitted", int(experts), int(top_k), wanted)
    preset = found.preset
    sys.stdout.write(
        f"skew={preset.skew:g} topic={preset.topic:g} persistence={preset.persistence:g}; "
        f"RMSE on new documents {100 * found.rmse:.2f} percentage points\n"
    )


def pooled_layers(routing: Routing) -> Routing:
    """Return all layers as one whose experts are those of every layer, all used by a token.

    A cache that all layers share sees it.
    """
    n_all = routing.n_layers * routing.n_experts
    if n_all > np.iinfo(np.int16).max:
        raise InvalidArgumentError(
            f"Layers × experts must be at most {np.iinfo(np.int16).max} to be pooled; got {n_all}."
        )
    first = np.arange(routing.n_layers, dtype=np.int16) * np.int16(routing.n_experts)
    experts = (routing.experts + first[:, None]).reshape(routing.n_tokens, 1, -1)
    return Routing(experts, routing.starts, n_all, routing.name)


if __name__ == "__main__":
    main()
