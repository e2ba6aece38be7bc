"""Plans put together of files and settings: the later counts, errors name the file and line."""

from pathlib import Path

import pytest

from archgym.errors import FileFormatError, InvalidArgumentError
from archgym.sweep.reading import assembled_document, read_plan
from tests.sweep.conftest import WritePlan


def content(path: str, *settings: str) -> object:
    return assembled_document(path, settings).root.plain()


def test_an_included_file_is_merged_and_the_including_one_counts_more() -> None:
    Path("parts").mkdir()
    Path("parts/tasks.yaml").write_text("budget: 1\ntasks:\n  a: {x: 1, y: 2}\n  b: {x: 1}\n")
    Path("plan.yaml").write_text("include: parts/tasks.yaml\nbudget: 2\ntasks:\n  a: {y: 3}\n")

    assert content("plan.yaml") == {
        "budget": 2,
        "tasks": {"a": {"x": 1, "y": 3}, "b": {"x": 1}},
    }


def test_of_several_files_the_later_counts() -> None:
    Path("a.yaml").write_text("budget: 1\nseeds: [1, 2]\n")
    Path("b.yaml").write_text("budget: 2\n")
    Path("plan.yaml").write_text("include: [a.yaml, b.yaml]\n")

    assert content("plan.yaml") == {"budget": 2, "seeds": [1, 2]}


def test_files_are_looked_for_beside_the_one_that_names_them() -> None:
    Path("parts").mkdir()
    Path("plan.yaml").write_text("include: parts/a.yaml\n")
    Path("parts/a.yaml").write_text("include: b.yaml\n")
    Path("parts/b.yaml").write_text("seeds: 3\n")

    assert content("plan.yaml") == {"seeds": 3}


def test_a_workload_file_is_looked_for_beside_the_included_file(write_plan: WritePlan) -> None:
    write_plan(("workload: light", "workload: own.trace"))
    Path("parts").mkdir()
    Path("plan.yaml").rename("parts/plan.yaml")
    Path("parts/own.trace").touch()
    Path("plan.yaml").write_text("include: parts/plan.yaml\n")

    # The toy knows no files, so that the path reaches it and is refused by it.
    with pytest.raises(FileFormatError, match=f"{Path('parts/own.trace').absolute()}"):
        read_plan("plan.yaml")


def test_an_error_in_an_included_file_names_that_file(write_plan: WritePlan) -> None:
    write_plan(("workload: light", "workload: lite"), name="part.yaml")
    Path("plan.yaml").write_text("# A comment.\ninclude: part.yaml\nbudget: 3\n")

    with pytest.raises(FileFormatError, match=r"^part\.yaml:6: unknown workload 'lite'"):
        read_plan("plan.yaml")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"plan": "seeds: 1\ninclude: plan.yaml"}, r"^plan\.yaml:2: .* must not include itself"),
        ({"plan": "include: a.yaml", "a": "\ninclude: plan.yaml"}, r"^a\.yaml:2: .* itself"),
        ({"plan": "seeds: 1\ninclude: gone.yaml"}, r"^plan\.yaml:2: .*gone\.yaml cannot be read"),
        ({"plan": "include: {a: b}"}, r"^plan\.yaml:1: .* must be a text"),
        ({"plan": "include: a.yaml", "a": "- 1"}, r"^a\.yaml:1: a plan must be a mapping"),
        ({"plan": "include: a.yaml", "a": "x: &a 1"}, r"^a\.yaml:1: .*anchors"),
        (
            {"plan": "include: a0.yaml", **{f"a{n}": f"include: a{n + 1}.yaml" for n in range(9)}},
            r"^a6\.yaml:1: .*at most 8 deep",
        ),
        (
            {"plan": f"include: [{', '.join(['a.yaml'] * 65)}]", "a": ""},
            r"^plan\.yaml:1: .*at most 64 files",
        ),
    ],
)
def test_what_cannot_be_included_is_refused_with_its_line(
    files: dict[str, str], words: str
) -> None:
    for name, text in files.items():
        Path(f"{name}.yaml").write_text(text)

    with pytest.raises(FileFormatError, match=words):
        assembled_document("plan.yaml")


def test_settings_count_more_than_the_files_and_the_later_more() -> None:
    Path("plan.yaml").write_text("budget: 1\nseeds: [0, 1]\ntasks:\n  a: {x: 1}\nagents:\n  r:\n")

    assert content(
        "plan.yaml", "budget=2", "budget=3", "seeds=[4]", "tasks.a.y=on", "agents.r.h.p=0.5"
    ) == {
        "budget": 3,
        "seeds": [4],
        "tasks": {"a": {"x": 1, "y": "on"}},
        "agents": {"r": {"h": {"p": 0.5}}},
    }


@pytest.mark.parametrize(
    "setting", ["budget", "=1", "a..b=1", "", "a." * 5000 + "b=1"], ids=lambda text: text[:9]
)
def test_a_setting_that_is_none_is_refused(write_plan: WritePlan, setting: str) -> None:
    with pytest.raises(InvalidArgumentError, match="such as budget=100"):
        assembled_document(write_plan(), [setting])


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("budget=0", r"^--set budget: `budget` must be a whole number"),
        ("max_asks=29", r"^--set max_asks: `max_asks` must be a whole number from 30 "),
        ("budgt=5", r"^--set budgt: .*Did you mean 'budget'"),
        ("budget={", r"^--set budget: a value must be plain YAML"),
        ("tasks.lite.workload=light", r"^--set tasks\.lite\.workload: unknown task .*'light'"),
        ("tasks.light.workload=x", r"^--set tasks\.light\.workload: unknown workload 'x'"),
        ("budget.x=5", r"^--set budget\.x: `x` must be set in a mapping; there is 30"),
        ("agents.small.hyperparameters.population=1", r"^--set agents.*`population`"),
    ],
)
def test_an_error_in_a_setting_names_it(write_plan: WritePlan, setting: str, words: str) -> None:
    with pytest.raises(FileFormatError, match=words):
        read_plan(write_plan(), [setting])
