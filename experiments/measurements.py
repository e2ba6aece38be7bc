"""Calibration and decisions on measured serving rows, each group left out in turn.

`python -m experiments.measurements run REFERENCE SCRATCH`, `... page SCRATCH/bars.json`
`python -m experiments.measurements held REFERENCE FILE.csv`

`run` leaves out each GPU, model and engine of `moe/measured/serving.csv`. Constants of the
simulator are fitted without it, and so is the prior of the error. A deployment is a model,
precision, GPU and engine; of each deployment of what is left out, 0 to 10 rows are measured, chosen
by the expected information (`next`) or at random (seeds 0 to 4), and the others are predicted.
Slow parts are kept in SCRATCH. `page` writes the tables of experiments/measurements.md.

`held` takes the constants and the prior that ship, and rows in a file of the same form that neither
has seen.

The probability that one row of a deployment beats another of equal lengths, in output tokens a
second and GPU, gives the Brier score. The recommended row has the largest calibrated rate among
those of equal lengths; its loss is the rate that it lacks of the best measured one. With a promise,
calibrated TPOT must keep a limit that 60 % of the rows keep, half-way between two of them; the loss
then includes the share by which the promise is broken.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from archgym.measurements.points import Points, Sides
from archgym.measurements.prior import ErrorPrior, shipped_prior
from archgym.measurements.process import ErrorProcess, Residuals, quantile
from archgym.simulators.moe import MoeSimulator
from evidence.moe.errors import (
    COLUMNS,
    LEVELS,
    QUANTITIES,
    known_values,
    learn,
    left_out_errors,
    measured_errors,
    points,
    with_simulated,
)
from evidence.moe.fitting import predict, problem
from evidence.moe.measured import Measured, read_serving

Floats = npt.NDArray[np.float64]

PAGE = Path(__file__).parent / "measurements.md"
START, END = "<!-- bars: begin -->", "<!-- bars: end -->"
COUNTS = tuple(range(11))
SEEDS = tuple(range(5))
TPOT, RATE = list(QUANTITIES).index("tpot"), list(QUANTITIES).index("rate")
# chosen: the promise of TPOT that 60 % of the rows of equal lengths keep.
PROMISE = 0.6
# chosen: deployments with fewer rows say little after ten measurements.
LEAST_ROWS = 8
MOST_PAIRS = 200
# chosen: a fit of each prior in seconds; the prior that ships takes more rows.
PRIOR_ROWS = 200


class Row(NamedTuple):
    """Results of one deployment with so many rows measured."""

    kind: str
    group: str
    how: str
    seed: int
    n: int
    errors: list[list[float]]
    """Errors of the rows that were not measured, by quantity: logarithms."""
    inside: list[list[bool]]
    """True for those within the 90 % interval."""
    pairs: list[tuple[float, bool]]
    """Probability that one row beats another, and whether it did."""
    losses: tuple[list[float], list[float]]
    """Losses of the recommended row, by lengths: without a promise, and with one."""


@dataclass(frozen=True, eq=False)
class Group:
    """Rows of one deployment, with errors of predictions."""

    kind: str
    name: str
    rows: Sequence[Measured]
    points: Points
    errors: Floats
    prior: ErrorPrior


@dataclass(frozen=True, eq=False)
class Known:
    """All components of the error of a deployment's rows, whose covariance is computed once."""

    whole: Floats
    """(n * n_quantities, n * n_quantities), quantities of a row side by side."""

    def covariance(self, one: Sides, other: Sides, _: object) -> Floats:
        """Return the covariance of errors."""
        width = len(QUANTITIES)
        at = (_places(side.points)[side.row] * width + side.quantity for side in (one, other))
        return self.whole[np.ix_(*at)]


def _places(points: Points) -> npt.NDArray[np.int64]:
    return points.number("row").astype(np.int64)


def prepared(group: Group) -> Group:
    """Return a deployment whose rows are numbered, with the covariance of their errors."""
    at = group.points
    at = Points(at.texts, {**at.numbers, "row": np.arange(float(len(at)))}, at.position)
    sides = Sides.of(at, np.arange(len(QUANTITIES)))
    whole = sum(part.covariance(sides, sides, group.prior.known) for part in group.prior.components)
    parts: Any = (Known(np.asarray(whole)),)
    return replace(group, points=at, prior=replace(group.prior, components=parts))


def informative(process: ErrorProcess, at: Points, n: int) -> list[int]:
    """Return the points whose measurement leaves the smallest variance, one after the other."""
    found = process.predict(at)
    size, width = found.mean.shape
    covariance = found.covariance.copy()
    weights = 1.0 / np.tile(np.mean(found.spread**2, axis=0), size)
    noise = process.noise_covariance()
    chosen: list[int] = []
    for _ in range(min(n, size)):
        blocks = covariance.reshape(size, width, size, width)
        shared = blocks.transpose(2, 0, 1, 3).reshape(size, size * width, width)
        own = np.stack([blocks[i, :, i, :] for i in range(size)]) + noise
        inverse = np.linalg.inv(own)
        gain = np.einsum("iaq,iqp,iap,a->i", shared, inverse, shared, weights, optimize=True)
        gain[chosen] = -1.0
        best = int(np.argmax(gain))
        chosen.append(best)
        covariance -= shared[best] @ inverse[best] @ shared[best].T
    return chosen


def orders(group: Group) -> Iterator[tuple[str, int, list[int]]]:
    """Yield ways to choose rows to measure: name, seed and order."""
    yield "next", 0, informative(ErrorProcess(group.prior), group.points, COUNTS[-1])
    for seed in SEEDS:
        shuffled = np.random.default_rng(seed).permutation(len(group.rows))
        yield "random", seed, shuffled.tolist()


def replay(group: Group) -> Iterator[Row]:
    """Yield the results of a deployment for each way and number of measurements."""
    size, group = len(group.rows), prepared(group)
    for how, seed, order in orders(group):
        for n in COUNTS:
            if n <= size - 3:
                measured = np.array(order[:n], dtype=np.int64)
                yield _result(group, how, seed, measured)


def _result(group: Group, how: str, seed: int, measured: npt.NDArray[np.int64]) -> Row:
    process = ErrorProcess(group.prior)
    width = group.errors.shape[1]
    values = group.errors[measured].ravel()
    row = np.repeat(np.arange(len(measured)), width)
    known = np.isfinite(values)
    process.condition(
        group.points.rows(measured),
        Residuals(
            row[known], np.tile(np.arange(width), len(measured))[known], values[known], row[known]
        ),
    )
    rest = np.setdiff1d(np.arange(len(group.rows)), measured)
    found = process.predict(group.points.rows(rest))
    noise = process.noise_covariance() * max(1.0, process.scale**2)
    off = group.errors[rest] - found.mean
    edge = quantile(process.tail, 0.95)
    limit = edge * np.sqrt(found.spread**2 + np.diag(noise))
    calibrated = group.errors.copy()
    calibrated[rest] = found.mean
    return Row(
        group.kind, group.name, how, seed, len(measured), off.tolist(),
        (np.abs(off) <= limit).tolist(), _pairs(group, rest, found.mean, found.covariance, noise),
        _losses(group, rest, found.mean),
    )  # fmt: skip


def _rates(group: Group) -> tuple[Floats, Floats]:
    """Return logarithms of simulated and of measured rates."""
    measured = np.log([row.output_per_s for row in group.rows])
    return measured - group.errors[:, RATE], measured


def _pairs(
    group: Group, rest: npt.NDArray[np.int64], mean: Floats, covariance: Floats, noise: Floats
) -> list[tuple[float, bool]]:
    from scipy.stats import t

    simulated, measured = _rates(group)
    lengths = np.array([row.options["lengths"] for row in group.rows])[rest]
    width = group.errors.shape[1]
    at = np.arange(len(rest)) * width + RATE
    joint = covariance[np.ix_(at, at)]
    one, other = np.triu_indices(len(rest), 1)
    same = lengths[one] == lengths[other]
    one, other = one[same], other[same]
    if len(one) > MOST_PAIRS:
        kept = np.random.default_rng(0).choice(len(one), MOST_PAIRS, replace=False)
        one, other = one[kept], other[kept]
    likely = simulated[rest] + mean[:, RATE]
    spread = np.sqrt(
        np.maximum(joint[one, one] + joint[other, other] - 2.0 * joint[one, other], 0.0)
        + 2.0 * noise[RATE, RATE]
    )
    tail = group.prior.tail
    z = (likely[one] - likely[other]) / spread / np.sqrt((tail - 2.0) / tail)
    chance = t.cdf(z, tail)
    beats = measured[rest][one] > measured[rest][other]
    return [(float(p), bool(b)) for p, b in zip(chance, beats, strict=True)]


def _losses(
    group: Group, rest: npt.NDArray[np.int64], mean: Floats
) -> tuple[list[float], list[float]]:
    """Return losses of the largest calibrated rate, without and with a promise of TPOT."""
    measured_rate, measured_tpot = (
        np.array([getattr(row, name) for row in group.rows]) for name in ("output_per_s", "tpot_ms")
    )
    likely = np.zeros_like(group.errors)
    likely[rest] = mean - group.errors[rest]
    rate = measured_rate * np.exp(likely[:, RATE])
    tpot = measured_tpot * np.exp(likely[:, TPOT])
    lengths = np.array([row.options["lengths"] for row in group.rows])
    found: list[float] = []
    free: list[float] = []
    for name in sorted(set(lengths.tolist())):
        at = np.flatnonzero((lengths == name) & np.isfinite(measured_rate + measured_tpot))
        if len(at) < 3:
            continue
        ordered = np.sort(measured_tpot[at])
        place = max(1, int(PROMISE * len(at)))
        # Between two rows, as a promise usually lies.
        limit = float(np.sqrt(ordered[place - 1] * ordered[place]))
        alone = at[int(np.argmax(rate[at]))]
        free.append(float(1.0 - measured_rate[alone] / measured_rate[at].max()))
        best = measured_rate[at][measured_tpot[at] <= limit].max()
        kept = at[tpot[at] <= limit]
        chosen = kept[int(np.argmax(rate[kept]))] if len(kept) else at[int(np.argmin(tpot[at]))]
        excess = max(0.0, float(measured_tpot[chosen] / limit - 1.0))
        found.append(max(0.0, float(1.0 - measured_rate[chosen] / best)) + excess)
    return free, found


def summary(rows: Sequence[Row], how: str, n: int) -> dict[str, Any]:
    """Return errors, coverage, Brier score, reliability and loss of one kind of measurement."""
    chosen = [row for row in rows if row.how == how and row.n == n]
    errors = np.concatenate([np.array(row.errors).reshape(-1, len(QUANTITIES)) for row in chosen])
    inside = np.concatenate([np.array(row.inside).reshape(-1, len(QUANTITIES)) for row in chosen])
    found: dict[str, Any] = {"rows": len(errors)}
    for place, name in enumerate(QUANTITIES):
        known = np.isfinite(errors[:, place])
        percent = 100.0 * np.abs(np.expm1(-errors[known, place]))
        found[name] = {
            "median": float(np.median(percent)),
            "p90": float(np.quantile(percent, 0.9)),
            "inside": 100.0 * float(inside[known, place].mean()),
        }
    pairs = np.array([pair for row in chosen for pair in row.pairs], dtype=np.float64)
    if len(pairs):
        # A pair counts once, with the better chance first.
        chance = np.where(pairs[:, 0] < 0.5, 1.0 - pairs[:, 0], pairs[:, 0])
        won = np.where(pairs[:, 0] < 0.5, 1.0 - pairs[:, 1], pairs[:, 1])
        found["brier"] = float(np.mean((chance - won) ** 2))
        edges = np.linspace(0.5, 1.0, 6)
        bins = np.clip(np.digitize(chance, edges) - 1, 0, 4)
        found["reliability"] = [
            [float(chance[bins == b].mean()), float(won[bins == b].mean()), int(n_in)]
            for b in range(5)
            if (n_in := int((bins == b).sum()))
        ]
    for place, name in enumerate(("loss", "promised_loss")):
        losses = [loss for row in chosen for loss in row.losses[place]]
        found[name] = 100.0 * float(np.mean(losses)) if losses else 0.0
        found[f"{name}_median"] = 100.0 * float(np.median(losses)) if losses else 0.0
    return found


def groups_of(
    rows: Sequence[Measured], at: Points, errors: Mapping[str, Floats], scratch: Path
) -> Iterator[Group]:
    """Yield the deployments of everything that is left out, with a prior that has not seen it."""
    for kind, fact, place in LEVELS:
        names = np.array([row.names[place] for row in rows])
        whole = with_simulated(at, rows, errors[kind])
        for level in sorted(set(names.tolist())):
            kept = np.flatnonzero(names != level)
            path = scratch / f"prior-{kind}-{level}.json"
            if path.is_file():
                prior = ErrorPrior.from_json(json.loads(path.read_text()))
            else:
                part = {name: each[kept] for name, each in errors.items()}
                others = [rows[row] for row in kept.tolist()]
                source = f"all rows without {level}"
                prior = learn(others, at.rows(kept), part, source, PRIOR_ROWS)
                path.write_text(json.dumps(prior.to_json()))
            prior = replace(prior, known={**known_values(rows), fact: frozenset()})
            inside = [row for row in range(len(rows)) if names[row] == level]
            for deployment in sorted({rows[row].names for row in inside}):
                found = np.array([row for row in inside if rows[row].names == deployment])
                if len(found) >= LEAST_ROWS:
                    yield Group(
                        kind, f"{level}: {' '.join(deployment)}", [rows[r] for r in found],
                        whole.rows(found), errors[kind][found], prior,
                    )  # fmt: skip


def run(reference: Path, scratch: Path) -> None:
    """Replay all groups and write `bars.json` into the scratch folder."""
    scratch.mkdir(parents=True, exist_ok=True)
    rows, _ = read_serving(_folder(reference))
    at, path = points(rows), scratch / "errors.npz"
    if not path.is_file():
        arrays: dict[str, Any] = {**left_out_errors(problem(rows))}
        np.savez(path, **arrays)
    with np.load(path) as stored:
        errors = {name: stored[name] for name in stored.files}
    done = scratch / "replayed.jsonl"
    lines = done.read_text().splitlines() if done.is_file() else []
    results = [Row(*row) for line in lines for row in json.loads(line)]
    known = {(row.kind, row.group) for row in results}
    for group in groups_of(rows, at, errors, scratch):
        if (group.kind, group.name) in known:
            continue
        found = list(replay(group))
        with done.open("a") as handle:
            handle.write(json.dumps(found) + "\n")
        results += found
        print(group.kind, group.name, flush=True)
    _write(results, scratch / "bars.json")


def held(reference: Path, table: Path) -> None:
    """Replay the deployments of another file with the constants and the prior that ship."""
    folder = _folder(reference)
    rows, _ = read_serving(folder, str(table.absolute()))
    asked = problem(rows)
    found = predict(asked, None)
    columns = (found.ttft_ms, found.tpot_ms, found.output_per_s)
    errors = measured_errors(rows, dict(zip(COLUMNS, columns, strict=True)))
    prior = shipped_prior("moe", MoeSimulator("closed-loop").metrics)
    assert prior is not None
    at = with_simulated(points(rows), rows, errors)
    results = []
    for deployment in sorted({row.names for row in rows}):
        inside = np.array([place for place, row in enumerate(rows) if row.names == deployment])
        if len(inside) >= LEAST_ROWS:
            results += list(
                replay(
                    Group(
                        "held", " ".join(deployment), [rows[r] for r in inside], at.rows(inside),
                        errors[inside], prior,
                    )
                )
            )  # fmt: skip
    print(tables({"held": _summaries(results)}))


def _folder(reference: Path) -> Path:
    return reference / "moe" if (reference / "moe").is_dir() else reference


def _summaries(rows: Sequence[Row]) -> dict[str, Any]:
    return {
        how: {str(n): summary(rows, how, n) for n in COUNTS if any(r.n == n for r in rows)}
        for how in ("random", "next")
    }


def _write(rows: Sequence[Row], path: Path) -> None:
    kinds = {kind: [row for row in rows if row.kind == kind] for kind, _, _ in LEVELS}
    found = {"all": _summaries(rows), **{kind: _summaries(part) for kind, part in kinds.items()}}
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def tables(found: Mapping[str, Any]) -> str:
    """Return the tables of the page."""
    lines = [
        "| left out | measured | chosen | TPOT, median / p90 % | output/s | TTFT | inside 90 %: "
        "TPOT, output/s, TTFT | Brier score | loss, mean % "
        "| loss with a promise, mean / median % |",
        "|---|---:|---|---:|---:|---:|---|---:|---:|---:|",
    ]
    for kind, ways in found.items():
        for n in ("0", "1", "3", "5", "10"):
            for how in ("random", "next"):
                entry = ways[how].get(n)
                if entry is None or (n == "0" and how == "next"):
                    continue
                cells = [f"{entry[q]['median']:.1f} / {entry[q]['p90']:.1f}" for q in _ORDER]
                inside = ", ".join(f"{entry[q]['inside']:.0f}" for q in _ORDER)
                loss = f"{entry['loss']:.1f}"
                promised = f"{entry['promised_loss']:.1f} / {entry['promised_loss_median']:.1f}"
                brier = f"{entry['brier']:.3f}" if "brier" in entry else ""
                chosen = "" if n == "0" else how
                cells = [kind, n, chosen, *cells, inside, brier, loss, promised]
                lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| chance stated | how often it won, after 3 chosen measurements | pairs |"]
    lines += ["|---:|---:|---:|"]
    for stated, won, n_pairs in next(iter(found.values()))["next"]["3"]["reliability"]:
        lines.append(f"| {stated:.2f} | {won:.2f} | {n_pairs:,} |")
    lines += ["", "| chosen | random ones with the same median error: TPOT, output/s, TTFT |"]
    lines += ["|---:|---|"]
    every = next(iter(found.values()))
    for n in ("1", "2", "3", "4", "5"):
        cells = [same_error(every["random"], q, every["next"][n][q]["median"]) for q in _ORDER]
        lines.append(f"| {n} | {', '.join(cells)} |")
    return "\n".join(lines)


def same_error(random: Mapping[str, Any], quantity: str, error: float) -> str:
    """Return how many random measurements bring a median error, interpolated."""
    medians = np.minimum.accumulate([random[str(n)][quantity]["median"] for n in COUNTS])
    if error < medians[-1]:
        return f"over {COUNTS[-1]}"
    return f"{np.interp(-error, -medians, COUNTS):.1f}"


_ORDER = ("tpot", "rate", "ttft")


def page(bars: Path) -> None:
    """Write the tables and the curves into the page."""
    found = json.loads(bars.read_text())
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.split(START)[0], text.split(END)[1]
    PAGE.write_text(f"{before}{START}\n\n{tables(found)}\n\n{END}{after}", encoding="utf-8")
    draw(found, PAGE.parent / "pictures" / "measurements.png")


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Draw median errors over the number of measurements, and the reliability."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panes = plt.subplots(1, 4, figsize=(13, 3.2), layout="constrained")
    for pane, quantity, title in zip(panes, _ORDER, ("TPOT", "output/s", "TTFT"), strict=False):
        for how in ("random", "next"):
            entries = found["all"][how]
            counts = sorted(map(int, entries))
            medians = [entries[str(n)][quantity]["median"] for n in counts]
            pane.plot(counts, medians, marker=".", label=f"{how}, median")
        pane.set(title=title, xlabel="measured rows", ylabel="error [%]", ylim=(0, None))
    panes[0].legend()
    for n in ("0", "3", "5"):
        entries = found["all"]["next"].get(n, {}).get("reliability", ())
        panes[3].plot(
            [e[0] for e in entries], [e[1] for e in entries], marker="o", label=f"{n} measured"
        )
    panes[3].plot([0.5, 1], [0.5, 1], color="gray", linewidth=0.8)
    panes[3].set(title="A beats B", xlabel="chance stated", ylabel="how often it won")
    panes[3].legend()
    figure.savefig(path, dpi=90)


def main() -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, arguments in (
        ("run", ("reference", "scratch")),
        ("held", ("reference", "table")),
        ("page", ("bars",)),
    ):
        command = commands.add_parser(name)
        for argument in arguments:
            command.add_argument(argument, type=Path)
    given = vars(parser.parse_args())
    by_name: dict[str, Callable[..., None]] = {"run": run, "held": held, "page": page}
    by_name[given.pop("command")](**given)


if __name__ == "__main__":
    main()
