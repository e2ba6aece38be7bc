"""Honest submissions, and a script that forges them in every way that verification must catch."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from archgym.bench import bench_plan, bench_task
from archgym.studies.journal import encode
from archgym.studies.metadata import JOURNAL_NAME, STATE_NAME, read_header
from archgym.studies.records import Records
from archgym.studies.snapshot import StudyLog, read_study
from archgym.sweep.plan import SweepPlan
from archgym.sweep.reading import PLAN_NAME, record_plan
from archgym.sweep.study_run import perform

TASK = "accelerator-maestro"
BUDGET = 20


def honest(folder: Path, agents: Sequence[str], seeds: int, task: str = TASK) -> SweepPlan:
    """Run agents in this process."""
    plan = bench_plan(agents, [bench_task(task)], seeds, BUDGET).decided()
    folder.mkdir(parents=True, exist_ok=True)
    record_plan(folder, plan)
    for run in plan.runs():
        assert perform(run, folder / run.id, {}, 0.0).failure is None
    return plan


def study_of(folder: Path, seed: int) -> Path:
    return folder / TASK / "random" / f"seed-{seed}"


def rewrite(log: StudyLog, records: Records) -> None:
    """Write a journal with right checksums, as a forger who knows the format does."""
    (log.folder / JOURNAL_NAME).write_bytes(encode(records, log.header.key))
    path = log.folder / STATE_NAME
    if path.is_file():
        state = json.loads(path.read_text())
        state |= {"asks": len(records), "evaluations": int((records.same < 0).sum())}
        path.write_text(json.dumps(state))


def changed(records: Records, row: int, **cells: object) -> Records:
    """Copy records with other cells in a row."""
    columns = {name: getattr(records, name).copy() for name in cells}
    for name, value in cells.items():
        columns[name][row] = value
    return dataclasses.replace(records, **columns)


def built_row(log: StudyLog, seed: int) -> int:
    rows = np.flatnonzero(log.is_feasible)
    return int(rows[seed % len(rows)])


# ---- forgeries; each changes a copy of an honest folder


def raise_reward(folder: Path, seed: int) -> None:
    log = read_study(study_of(folder, seed))
    row = built_row(log, seed)
    rewrite(log, changed(log.records, row, reward=log.records.reward[row] + 1e-9))


def improve_metric(folder: Path, seed: int) -> None:
    log = read_study(study_of(folder, seed))
    row = built_row(log, seed)
    rewrite(log, changed(log.records, row, values=log.records.values[row] * 0.5))


def build_the_unbuildable(folder: Path, seed: int) -> None:
    log = read_study(study_of(folder, seed))
    row = int(np.flatnonzero(~log.is_feasible)[0])
    good = built_row(log, seed)
    records = changed(log.records, row, values=log.records.values[good], reason=0)
    rewrite(log, changed(records, row, reward=log.records.reward[good]))


def swap_results(folder: Path, seed: int) -> None:
    log = read_study(study_of(folder, seed))
    rows = np.flatnonzero(log.is_feasible)[:2]
    records = log.records
    for a, b in (rows, rows[::-1]):
        records = changed(records, a, values=log.records.values[b], reward=log.records.reward[b])
    rewrite(log, records)


def append_after_budget(folder: Path, seed: int) -> None:
    log = read_study(study_of(folder, seed))
    rng = np.random.default_rng(seed)
    task = bench_task(TASK).plan.make()
    indices = task.space.sample(1, rng)
    found = task.evaluate(indices)
    extra = log.records.rows(np.array([len(log.records) - 1]))
    extra = dataclasses.replace(
        extra,
        seq=extra.seq + 1,
        indices=indices,
        values=found.values,
        reason=found.reason,
        reward=found.reward,
    )
    rewrite(log, Records.concatenated([log.records, extra]))


def count_a_repeat_as_new(folder: Path, seed: int) -> None:
    log = read_study(study_of(folder, seed))
    last, first = len(log.records) - 1, built_row(log, seed)
    records = log.records
    rewrite(
        log,
        changed(
            records,
            last,
            indices=records.indices[first],
            values=records.values[first],
            reason=records.reason[first],
            reward=records.reward[first],
        ),
    )


def hide_a_new_design_as_repeat(folder: Path, seed: int) -> None:
    log = read_study(study_of(folder, seed))
    rewrite(log, changed(log.records, 5 + seed, same=0, values=np.nan, reason=-1, reward=np.nan))


def break_a_checksum(folder: Path, seed: int) -> None:
    path = study_of(folder, seed) / JOURNAL_NAME
    lines = path.read_text().splitlines(keepends=True)
    lines[seed] = lines[seed].replace('"reason":[0]', '"reason":[1]').replace('"seq"', '"sEq"')
    path.write_text("".join(lines))


def drop_a_bad_record(folder: Path, seed: int) -> None:
    log = read_study(study_of(folder, seed))
    rewrite(log, log.records.rows(np.arange(len(log.records)) != 3 + seed))


def stop_early(folder: Path, seed: int) -> None:
    log = read_study(study_of(folder, seed))
    (log.folder / JOURNAL_NAME).write_bytes(
        encode(log.records.rows(slice(0, BUDGET - 1 - seed)), log.header.key)
    )


def lose_a_run(folder: Path, seed: int) -> None:
    shutil.rmtree(study_of(folder, seed))


def choose_seeds(folder: Path, seed: int) -> None:
    path = folder / PLAN_NAME
    plan = json.loads(path.read_text())
    plan["seeds"].remove(seed)
    plan["seeds"].append(99)
    path.write_text(json.dumps(plan))


def copy_another_seed(folder: Path, seed: int) -> None:
    source = study_of(folder, (seed + 1) % 5) / JOURNAL_NAME
    shutil.copy(source, study_of(folder, seed) / JOURNAL_NAME)


def raise_budget(folder: Path, seed: int) -> None:
    study = study_of(folder, seed)
    header = read_header(study)
    msgspec.structs.replace(header, budget=BUDGET + 10 + seed).write(study)


def claim_another_agent(folder: Path, seed: int) -> None:
    study = study_of(folder, seed)
    msgspec.structs.replace(read_header(study), agent="genetic").write(study)


def swap_the_space(folder: Path, seed: int) -> None:
    study = study_of(folder, seed)
    header = read_header(study)
    space = bench_task("soc-small-edp").plan.make().space.to_json()
    msgspec.structs.replace(header, task={**header.task, "space": space}).write(study)


def move_the_reference(folder: Path, seed: int) -> None:
    study = study_of(folder, seed)
    header = read_header(study)
    reference = (2.0 * np.array(header.task["reference"])).tolist()
    msgspec.structs.replace(header, task={**header.task, "reference": reference}).write(study)


def claim_a_nested_design(folder: Path, seed: int) -> None:
    _claim(folder, {"a": {"b": [seed]}}, 1.0)


def _edit_task(folder: Path, **members: object) -> None:
    path = folder / PLAN_NAME
    plan = json.loads(path.read_text())
    plan["tasks"][TASK] |= members
    path.write_text(json.dumps(plan))


def loosen_the_task(folder: Path, seed: int) -> None:
    _edit_task(folder, digest=f"{seed}" * 64)


def start_from_the_best(folder: Path, seed: int) -> None:
    _edit_task(folder, start=["default"] * (1 + seed))


def lower_the_bar(folder: Path, seed: int) -> None:
    _edit_task(folder, best_known=float(seed))


def lie_on_the_workload(folder: Path, seed: int) -> None:
    _edit_task(folder, workload={f"resnet-18/layer{1 + seed % 4}.1.conv2": 1.0})


def lie_on_the_objective(folder: Path, seed: int) -> None:
    _edit_task(folder, objective=f"edp[area_mm2<={9 + seed}]")


def lie_on_the_simulator(folder: Path, seed: int) -> None:
    _edit_task(folder, simulator=("soc", "dram", "cpu", "moe", "kv")[seed % 5])


def lie_on_the_id(folder: Path, seed: int) -> None:
    _edit_task(folder, id=f"accelerator/maestro-2023/task-{seed}/edp-v1")


def hold_a_parameter(folder: Path, seed: int) -> None:
    _edit_task(folder, fixed={"pes": 2 ** (4 + seed)})


def search_longer(folder: Path, seed: int) -> None:
    path = folder / PLAN_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_asks": 10_000 + seed}))
    for each in range(5):
        _edit_header(folder, each, max_asks=10_000 + seed)


def give_another_agents_label(folder: Path, seed: int) -> None:
    path = folder / PLAN_NAME
    plan = json.loads(path.read_text())
    label = ("genetic", "bayesian", "random2", "auto", "Random")[seed % 5]
    plan["agents"] = {label: plan["agents"]["random"]}
    path.write_text(json.dumps(plan))
    (folder / TASK / "random").rename(folder / TASK / label)


def give_impossible_hyperparameters(folder: Path, seed: int) -> None:
    """Record hyperparameters that the agent refuses, in the plan too, with right checksums."""
    values = {"batch_size": [[1], {}, 10**12, None, "x"][seed % 5]}
    path = folder / PLAN_NAME
    plan = json.loads(path.read_text())
    plan["agents"]["random"]["hyperparameters"] = values
    path.write_text(json.dumps(plan))
    for each in range(5):
        records = read_study(study_of(folder, each)).records
        _edit_header(folder, each, hyperparameters=values)
        rewrite(read_study(study_of(folder, each)), records)


def rename_the_task(folder: Path, seed: int) -> None:
    text = (folder / PLAN_NAME).read_text()
    (folder / PLAN_NAME).write_text(text.replace(f'"{TASK}":', f'"easy-{seed}":'))


def _claim(folder: Path, design: object, reward: float, task: str = TASK) -> None:
    line = json.dumps({"task": task, "design": design, "reward": reward})
    (folder / "claims.jsonl").write_text(line + "\n")


def claim_too_much(folder: Path, seed: int) -> None:
    best = read_study(study_of(folder, seed)).best()
    assert best is not None
    _claim(folder, dict(best.design), best.reward + 1e-6)


def claim_no_design(folder: Path, seed: int) -> None:
    _claim(folder, {"banks": seed}, 1.0)


def claim_unknown_task(folder: Path, seed: int) -> None:
    _claim(folder, {}, 1.0, f"task-{seed}")


def tear_a_claim(folder: Path, seed: int) -> None:
    (folder / "claims.jsonl").write_text('{"task": "accelerator-maestro", "desi'[: 9 + seed])


def put_the_best_first(folder: Path, seed: int) -> None:
    log = read_study(study_of(folder, seed))
    records, order = log.records, np.argsort(-log.records.reward, kind="stable")
    rewrite(log, dataclasses.replace(records.rows(order), seq=records.seq))


def _edit_header(folder: Path, seed: int, **members: object) -> None:
    study = study_of(folder, seed)
    msgspec.structs.replace(read_header(study), **members).write(study)


def call_the_search_a_log(folder: Path, seed: int) -> None:
    put_the_best_first(folder, seed)
    _edit_header(folder, seed, kind="log")


def deny_replay(folder: Path, seed: int) -> None:
    put_the_best_first(folder, seed)
    _edit_header(folder, seed, is_replayable=False)


def _edit_recorded(folder: Path, seed: int, **members: object) -> None:
    task = read_header(study_of(folder, seed)).task
    _edit_header(folder, seed, task={**task, **members})


def name_another_simulator(folder: Path, seed: int) -> None:
    _edit_recorded(folder, seed, simulator="soc")


def name_another_fidelity(folder: Path, seed: int) -> None:
    _edit_recorded(folder, seed, fidelity="fast")


def give_options(folder: Path, seed: int) -> None:
    _edit_recorded(folder, seed, options={"mapper": "energy"})


def rename_the_id(folder: Path, seed: int) -> None:
    _edit_recorded(folder, seed, id=f"accelerator/maestro-2023/task-{seed}/edp-v0")


def name_a_stand_in(folder: Path, seed: int) -> None:
    path = str(folder / "t.parquet")
    _edit_recorded(folder, seed, stand_in={"kind": "table", "path": path, "digest": "0" * 64})


def invent_a_failure(folder: Path, seed: int) -> None:
    log = read_study(study_of(folder, seed))
    row = int(np.argmin(log.records.reward))
    failed = changed(log.records, row, reason=-1, values=np.nan, reward=-25.0)
    errors = {**log.records.errors, int(log.records.seq[row]): "the machine was busy"}
    rewrite(log, dataclasses.replace(failed, errors=errors))


def claim_a_member_twice(folder: Path, seed: int) -> None:
    best = read_study(study_of(folder, seed)).best()
    assert best is not None
    design = json.dumps(dict(best.design))
    line = f'{{"task": "{TASK}", "design": {{}}, "design": {design}, "reward": {best.reward!r}}}'
    (folder / "claims.jsonl").write_text(line + "\n")


def round_the_reward(folder: Path, seed: int) -> None:
    """Raise a reward by the smallest step that a float has."""
    log = read_study(study_of(folder, seed))
    row = built_row(log, seed)
    rewrite(log, changed(log.records, row, reward=np.nextafter(log.records.reward[row], np.inf)))


def take_another_design(folder: Path, seed: int) -> None:
    """Record the results of the best design for a design that was asked for."""
    log = read_study(study_of(folder, seed))
    best, row = int(np.argmax(log.records.reward)), int(np.argmin(log.records.reward))
    rewrite(log, changed(log.records, row, indices=log.records.indices[best]))


def ask_for_better_designs(folder: Path, seed: int) -> None:
    """Replace the worst design by the neighbour of the best, with its true results."""
    log = read_study(study_of(folder, seed))
    task = bench_task(TASK).plan.make()
    row, best = int(np.argmin(log.records.reward)), int(np.argmax(log.records.reward))
    neighbour = log.records.indices[best].copy()
    for place, size in enumerate(task.space.sizes):
        other = neighbour.copy()
        other[place] = (other[place] + 1 + seed) % size
        known = {tuple(each) for each in task.space.canonical(log.records.indices).tolist()}
        if tuple(task.space.canonical(other[None, :])[0].tolist()) not in known:
            neighbour = other
            break
    found = task.evaluate(neighbour[None, :])
    records = changed(log.records, row, indices=neighbour, values=found.values[0])
    rewrite(log, changed(records, row, reason=found.reason[0], reward=found.reward[0]))


def claim_another_seed(folder: Path, seed: int) -> None:
    study = study_of(folder, seed)
    msgspec.structs.replace(read_header(study), seed=1000 + seed).write(study)


def tune_the_agent(folder: Path, seed: int) -> None:
    _edit_header(folder, seed, hyperparameters={"speed": seed})


def give_start_designs(folder: Path, seed: int) -> None:
    best = int(np.argmax(read_study(study_of(folder, seed)).records.reward))
    design = read_study(study_of(folder, seed)).records.indices[best]
    _edit_header(folder, seed, start=(tuple(int(each) for each in design),))


def ask_without_limit(folder: Path, seed: int) -> None:
    _edit_header(folder, seed, max_asks=10_000 + seed)


def merge_two_runs(folder: Path, seed: int) -> None:
    """Keep the better half of two runs under one seed."""
    log, other = (read_study(study_of(folder, each)) for each in (seed, (seed + 1) % 5))
    half = BUDGET // 2
    joined = Records.concatenated(
        [log.records.rows(slice(0, half)), other.records.rows(slice(half, BUDGET))]
    )
    rewrite(log, dataclasses.replace(joined, seq=np.arange(len(joined))))


FORGERIES: dict[str, tuple[str, Callable[[Path, int], None]]] = {
    each.__name__: (kind, each)
    for kind, each in (
        ("numbers", raise_reward),
        ("numbers", improve_metric),
        ("numbers", build_the_unbuildable),
        ("numbers", swap_results),
        ("budget", append_after_budget),
        ("repeat", count_a_repeat_as_new),
        ("repeat", hide_a_new_design_as_repeat),
        ("damage", break_a_checksum),
        ("damage", drop_a_bad_record),
        ("missing", stop_early),
        ("missing", lose_a_run),
        ("plan", choose_seeds),
        ("damage", copy_another_seed),
        ("study", raise_budget),
        ("study", claim_another_agent),
        ("plan", loosen_the_task),
        ("plan", start_from_the_best),
        ("plan", lower_the_bar),
        ("plan", rename_the_task),
        ("plan", lie_on_the_workload),
        ("plan", lie_on_the_objective),
        ("plan", lie_on_the_simulator),
        ("plan", lie_on_the_id),
        ("plan", hold_a_parameter),
        ("plan", search_longer),
        ("plan", give_another_agents_label),
        ("order", give_impossible_hyperparameters),
        ("study", swap_the_space),
        ("study", move_the_reference),
        ("claim", claim_a_nested_design),
        ("claim", claim_too_much),
        ("claim", claim_no_design),
        ("claim", claim_unknown_task),
        ("claim", tear_a_claim),
        ("order", put_the_best_first),
        ("study", call_the_search_a_log),
        ("order", deny_replay),
        ("study", name_another_simulator),
        ("study", name_another_fidelity),
        ("study", give_options),
        ("study", rename_the_id),
        ("study", name_a_stand_in),
        ("numbers", invent_a_failure),
        ("claim", claim_a_member_twice),
        ("numbers", round_the_reward),
        ("numbers", take_another_design),
        ("order", ask_for_better_designs),
        ("study", claim_another_seed),
        ("study", tune_the_agent),
        ("study", give_start_designs),
        ("study", ask_without_limit),
        ("order", merge_two_runs),
    )
}
"""By name, the kind of refusal that must come, and the function that forges."""
