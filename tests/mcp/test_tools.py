"""Tools of the server, called from Python."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.mcp.tools import Toolbox
from archgym.mcp.workspace import Workspace
from archgym.report.study_summary import StudySummary
from archgym.simulators.translation.rules.domain import TLB
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from archgym.tasks.task import Task

TASK = {"simulator": "dram", "workload": "cloud-1", "objective": "least-time"}


def called(toolbox: Toolbox, name: str, **arguments: Any) -> Any:
    answer = toolbox.call(name, arguments)
    assert answer.error is None, answer.error
    return json.loads(answer.text)


def refused(toolbox: Toolbox, name: str, **arguments: Any) -> str:
    answer = toolbox.call(name, arguments)
    assert answer.error is not None
    return answer.error


def create(toolbox: Toolbox, study: str = "first", budget: int = 12) -> None:
    called(toolbox, "create_study", study=study, budget=budget, **TASK)


def test_every_input_has_a_schema_without_unknown_members(toolbox: Toolbox) -> None:
    assert len(toolbox.tools) == 27
    for tool in toolbox.tools:
        assert tool.schema["type"] == "object"
        assert tool.schema["additionalProperties"] is False
        assert tool.description


def test_description_of_a_simulator_has_units_ranges_and_constraints(toolbox: Toolbox) -> None:
    found = called(toolbox, "describe_simulator", simulator="moe")

    parameters = found["space"]["parameters"]
    assert {"kind", "name", "default", "doc"} <= set(parameters[0])
    assert any("unit" in parameter for parameter in parameters)
    assert found["space"]["constraints"]
    assert {"name", "unit", "goal"} <= set(found["metrics"][0])


def test_evaluation_reports_metrics_limits_and_what_remains(toolbox: Toolbox) -> None:
    called(
        toolbox,
        "create_study",
        study="limited",
        budget=5,
        subject_to=["total_time_ns <= 64000"],
        **TASK,
    )

    found = called(
        toolbox, "evaluate", study="limited", designs=[{"page_policy": "Closed"}, {}, {}]
    )

    closed, default, repeated = found["results"]
    assert found["remaining"] == 3
    assert found["units"]["total_time_ns"] == "ns"
    assert "total_energy_pj" not in found["units"]
    assert closed["reward"] < 0
    assert closed["missed_limits"]
    assert default["metrics"]["total_time_ns"] == repeated["metrics"]["total_time_ns"]
    assert repeated["known_before"]


def test_call_above_the_budget_evaluates_nothing(toolbox: Toolbox) -> None:
    create(toolbox, budget=2)
    designs = [{"request_buffer_size": size} for size in (1, 2, 3)]

    assert refused(toolbox, "evaluate", study="first", designs=designs) == (
        "Study 'first' has 2 evaluations left; this call needs 3. Nothing was evaluated."
    )
    assert called(toolbox, "best", study="first")["evaluations"] == 0


def test_known_designs_can_be_read_after_the_budget_is_used_up(toolbox: Toolbox) -> None:
    create(toolbox, budget=1)
    once = called(toolbox, "evaluate", study="first", designs=[{}])

    again = called(toolbox, "evaluate", study="first", designs=[{}])

    assert again["results"][0]["reward"] == once["results"][0]["reward"]
    assert again["evaluations"] == 1


def test_studies_share_the_budget_of_the_server(toolbox: Toolbox) -> None:
    create(toolbox, "first", 50)

    assert refused(toolbox, "create_study", study="second", budget=11, **TASK) == (
        "`budget` must be at most 10, which is left of the server's 60 evaluations; got 11."
    )


def test_server_that_starts_again_grants_no_new_budget(tmp_path: Path) -> None:
    before = Workspace(tmp_path, budget=60)
    create(Toolbox(before), "first", 50)
    called(Toolbox(before), "evaluate", study="first", designs=[{}])
    before.close()

    after = Workspace(tmp_path, budget=60)

    assert "at most 10" in refused(
        Toolbox(after), "create_study", study="second", budget=11, **TASK
    )
    found = called(Toolbox(after), "evaluate", study="first", designs=[{"page_policy": "Closed"}])
    assert found["remaining"] == 48
    after.close()


def test_explanation_is_charged_for_all_single_changes(toolbox: Toolbox) -> None:
    create(toolbox, budget=60)
    called(toolbox, "evaluate", study="first", designs=[{}])

    found = called(toolbox, "explain", study="first")

    assert found["evaluations"] == found["of_changes"] + 1
    assert len(found["best_changes"]) == 10


def test_explanation_above_the_budget_returns_nothing(toolbox: Toolbox) -> None:
    create(toolbox, budget=3)
    called(toolbox, "evaluate", study="first", designs=[{}])

    assert "Nothing was evaluated" in refused(toolbox, "explain", study="first")


def test_proposal_depends_on_the_journal_and_the_seed_only(toolbox: Toolbox) -> None:
    create(toolbox)
    first = called(toolbox, "propose", study="first", count=4)["designs"]
    same = called(toolbox, "propose", study="first", count=4)["designs"]
    other = called(toolbox, "propose", study="first", count=4, seed=1)["designs"]
    called(toolbox, "evaluate", study="first", designs=first)
    later = called(toolbox, "propose", study="first", count=4)["designs"]

    assert first == same
    assert first != other
    assert not any(design in first for design in later)


def test_advice_ranks_own_designs_and_costs_nothing(toolbox: Toolbox) -> None:
    create(toolbox, budget=30)
    assert "Advice needs 4" in refused(toolbox, "advise", study="first")
    called(toolbox, "search", study="first", evaluations=12, agent="random")

    found = called(toolbox, "advise", study="first", count=3, designs=[{}])
    again = called(toolbox, "advise", study="first", count=3, designs=[{}])

    assert found == again
    assert [each["is_own"] for each in found["suggestions"]].count(True) == 1
    assert len(found["suggestions"]) == 4
    assert called(toolbox, "history", study="first")["evaluations"] == 12


def test_search_spends_exactly_what_it_is_given(toolbox: Toolbox) -> None:
    create(toolbox)

    found = called(toolbox, "search", study="first", evaluations=7, agent="random")

    assert (found["spent"], found["remaining"]) == (7, 5)
    assert called(toolbox, "search", study="first", evaluations=99)["spent"] == 5
    assert "no evaluations left" in refused(toolbox, "search", study="first", evaluations=1)


def test_search_writes_the_journal_that_the_library_writes(
    toolbox: Toolbox, tmp_path: Path
) -> None:
    create(toolbox)
    called(toolbox, "search", study="first", evaluations=8, agent="random", seed=3)
    toolbox.workspace.close()
    task = Task.make("dram", "cloud-1", "least-time")
    journal = (tmp_path / "work" / "first" / "journal.jsonl").read_bytes()
    asked = np.array([json.loads(line)["design"] for line in journal.splitlines()])

    with Study.create(tmp_path / "replayed", task, None, budget=12) as study:
        study.evaluate(asked)

    assert (tmp_path / "replayed" / "journal.jsonl").read_bytes() == journal


def test_edited_record_with_a_valid_checksum_is_reported(toolbox: Toolbox) -> None:
    import zlib

    create(toolbox)
    called(toolbox, "evaluate", study="first", designs=[{}, {"page_policy": "Closed"}])
    toolbox.workspace.close()
    folder = toolbox.workspace.root / "first"
    key = toolbox.workspace.header("first").key
    first, second = (folder / "journal.jsonl").read_text().splitlines()
    edited = second.replace('"reward":-', '"reward":')
    assert edited != second
    body = edited[: edited.index(',"crc"')]
    crc = zlib.crc32(body.encode(), key)
    (folder / "journal.jsonl").write_text(f'{first}\n{body},"crc":"{crc:08x}"}}\n')

    found = called(toolbox, "verify", study="first")

    assert found["differing"] == [2]
    assert found["is_intact"] is False


def test_evaluations_beyond_the_budget_are_not_intact(toolbox: Toolbox) -> None:
    from archgym.studies.metadata import read_header

    create(toolbox, budget=3)
    designs = [{}, {"page_policy": "Closed"}, {"page_policy": "OpenAdaptive"}]
    called(toolbox, "evaluate", study="first", designs=designs)
    assert called(toolbox, "verify", study="first")["is_intact"] is True
    toolbox.workspace.close()
    folder = toolbox.workspace.root / "first"
    read_header(folder).with_budget(2).write(folder)

    found = called(toolbox, "verify", study="first")

    assert (found["is_intact"], found["differing"]) == (False, [])
    assert found["beyond_budget"] == [3]


def test_long_result_becomes_a_resource(toolbox: Toolbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archgym.mcp.tools.MAX_OUTPUT_BYTES", 8000)
    create(toolbox, budget=60)
    called(toolbox, "search", study="first", evaluations=60, agent="random")

    answer = toolbox.call("history", {"study": "first", "count": 1000})
    short = toolbox.call("history", {"study": "first", "count": 3})

    assert answer.resource == "archgym://results/1"
    assert len(answer.text) < 8000
    assert len(json.loads(toolbox.resource(answer.resource))["history"]) == 60
    assert short.resource is None


def test_export_writes_a_new_file_with_units(toolbox: Toolbox) -> None:
    create(toolbox)
    called(toolbox, "evaluate", study="first", designs=[{}])

    found = called(toolbox, "export", study="first", file="all.csv", content="evaluations")

    lines = (toolbox.workspace.root / "all.csv").read_text().splitlines()
    assert found["rows"] == 1
    assert lines[0].startswith("evaluation,reward,page_policy,")
    assert "total_time_ns [ns]" in lines[0]
    assert "exists" in refused(toolbox, "export", study="first", file="all.csv")
    assert "study's folder" in refused(toolbox, "export", study="first", file="first/best.json")


def test_studies_of_one_task_are_compared(toolbox: Toolbox) -> None:
    create(toolbox, "first", 6)
    create(toolbox, "second", 6)
    called(toolbox, "search", study="first", evaluations=6, agent="random")
    called(toolbox, "search", study="second", evaluations=6, agent="random", seed=1)

    found = called(toolbox, "compare", studies=["first", "second"])

    assert found["budget"] == 6
    assert {study["study"] for study in found["studies"]} == {"first", "second"}


def test_errors_name_studies_relative_to_the_folder(toolbox: Toolbox) -> None:
    create(toolbox)
    called(toolbox, "create_study", study="second", budget=12, **TASK, space="dramsys")

    why = refused(toolbox, "compare", studies=["first", "second"])

    assert "first has none" in why
    assert str(toolbox.workspace.root) not in why


@pytest.mark.parametrize("address", ["archgym://studies/first/best", "archgym://simulators/dram"])
def test_resources_are_json(toolbox: Toolbox, address: str) -> None:
    create(toolbox)

    assert json.loads(toolbox.resource(address))


def test_guide_names_every_tool_of_the_workflow(toolbox: Toolbox) -> None:
    text = toolbox.resource("archgym://guide")

    for name in ("create_study", "evaluate", "propose", "search", "explain", "verify", "best"):
        assert f"`{name}`" in text
        assert name in {tool.name for tool in toolbox.tools}


def test_bench_task_becomes_a_study_with_its_largest_budget(toolbox: Toolbox) -> None:
    listed = called(toolbox, "list_bench_tasks", suite="full", split="development")["tasks"]
    chosen = next(each for each in listed if each["task"] == "soc-small-edp")

    found = called(toolbox, "create_bench_study", study="bench", task="soc-small-edp", budget=5)
    evaluated = called(toolbox, "evaluate", study="bench", designs=[{}])

    assert max(chosen["budgets"]) >= 5
    assert (found["budget"], evaluated["remaining"]) == (5, 4)
    assert "soc-small" in refused(
        toolbox, "create_bench_study", study="other", task="soc-smal-edp", budget=5
    )


def test_design_is_exported_in_the_format_of_a_tool(toolbox: Toolbox) -> None:
    create(toolbox)
    called(toolbox, "evaluate", study="first", designs=[{}])

    formats = called(toolbox, "export_design", study="first")["formats"]
    found = called(toolbox, "export_design", study="first", format="dramsys", file="out")

    assert set(formats) == {"dramsys", "json", "markdown"}
    assert found["files"]
    assert all((toolbox.workspace.root / name).is_file() for name in found["files"])
    assert "leads out of it" in refused(
        toolbox, "export_design", study="first", format="json", file="../design.json"
    )


LRU = TLB.templates["lru"]


@pytest.mark.slow
def test_rules_are_charged_journaled_and_verified(toolbox: Toolbox) -> None:
    made = called(
        toolbox, "create_rule_study", study="tlb", domain="tlb", traces=["sort"], budget=3
    )
    lru = called(toolbox, "evaluate_rule", study="tlb", source=LRU)
    too_long = LRU.replace("best = 0", "best = 0\n    for a in range(66000):\n        best = 0", 1)
    outside = LRU.replace("return best", "return WAYS")
    refusal = refused(toolbox, "evaluate_rule", study="tlb", source="import os")
    charged = [
        called(toolbox, "evaluate_rule", study="tlb", source=text) for text in (outside, too_long)
    ]
    after = called(toolbox, "evaluate_rule", study="tlb", source=LRU)

    assert made["left"] == 3
    assert lru["loss"] > 1.0
    assert "`import` is not allowed" in refusal or "an import is not allowed" in refusal
    assert [each["loss"] for each in charged] == [None, None]
    assert after["budget_exhausted"]
    results = called(toolbox, "rule_results", study="tlb")
    # One numbering, from 1, as `show` has it.
    assert results["best"]["attempt"] == lru["attempt"] == 1
    assert called(toolbox, "verify_rules", study="tlb")["differing"] == []
    # Rules share the server's budget with studies of designs.
    assert "at most 57" in refused(toolbox, "create_study", study="s", budget=58, **TASK)


def test_rule_can_be_checked_and_its_domain_described(toolbox: Toolbox) -> None:
    domains = called(toolbox, "list_rule_domains")["domains"]
    found = called(toolbox, "describe_rule_domain", domain="tlb", template="lru")
    checked = called(toolbox, "check_rule", source=found["source"])

    assert [each["domain"] for each in domains] == [
        "cache",
        "cpu-control",
        "dram-control",
        "dram-scheduling",
        "expert-cache",
        "kv-cache",
        "tlb",
    ]
    assert found["source"] == LRU
    assert checked["state_bits"] == 1536 * 32 + 32


def test_inputs_of_tools_hold_parameters() -> None:
    import msgspec

    from archgym.mcp.workspace import TaskInput
    from archgym.tasks.task import Task

    given = {"simulator": "dram", "workload": "stream", "options": {"requests": "20"}}
    held = {"fixed": {"page_policy": "Closed"}, "values": {"request_buffer_size": "1..4"}}

    task = Task.resolve(msgspec.convert(given | held, TaskInput).choices())

    assert "{page_policy=Closed,request_buffer_size=1..4}" in task.id


def test_name_of_a_task_reads_back_in_another_study(toolbox: Toolbox) -> None:
    choices = {
        "simulator": "dram",
        "minimise": ["2*power_mw"],
        "maximise": ["bandwidth_gb_per_s"],
        "values": {"page_policy": ["Open", "Closed"]},
    }
    first = called(toolbox, "create_study", study="one", budget=2, **choices)
    # Before, `;` and `|` were shown as `_`.
    again = called(toolbox, "create_study", study="two", budget=2, simulator=first["task"])

    assert again["digest"] == first["digest"]


def test_an_evaluation_has_one_number_at_every_door(toolbox: Toolbox) -> None:
    create(toolbox)
    called(toolbox, "search", study="first", evaluations=4, agent="random")
    shown = StudySummary.read(read_study(toolbox.workspace.root / "first")).best_evaluation

    best = called(toolbox, "best", study="first")["best"]
    history = called(toolbox, "history", study="first")["history"]
    again = called(toolbox, "evaluate", study="first", designs=[best["design"]])["results"][0]
    called(toolbox, "export", study="first", file="best.csv")

    assert [each["evaluation"] for each in history] == [1, 2, 3, 4]
    assert best["seq"] + 1 == shown
    assert best["evaluation"] == again["evaluation"] == shown
    line = (toolbox.workspace.root / "best.csv").read_text().splitlines()[1]
    assert line.startswith(f"{shown},")
