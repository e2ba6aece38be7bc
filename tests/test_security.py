"""The threat model names tests that exist, and what is installed is pinned by its hash."""

import configparser
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PINNED = ("core", "full")
# Left to pip, since their builds differ by machine: PyTorch, and what comes with it.
LEFT = ("torch", "triton", "nvidia-", "cuda-")


def threats() -> list[list[str]]:
    """Return the cells of the threat model, row by row."""
    text = (ROOT / "SECURITY.md").read_text()
    section = text.split("## Threat model")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return rows[2:]


def test_each_row_of_the_threat_model_names_tests_that_exist() -> None:
    rows = threats()

    assert len(rows) >= 9
    for row in rows:
        assert len(row) == 4, row
        named = re.findall(r"`(tests/[^`]+)`", row[3])
        assert named, row[0]
        for name in named:
            path, _, test = name.partition("::")
            assert (ROOT / path).is_file(), name
            assert f"def {test or 'test_'}" in (ROOT / path).read_text(), name


def pinned(name: str) -> dict[str, tuple[Requirement, list[str]]]:
    """Return requirements of a file by name, with their hashes."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text().replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        requirement, *hashes = line.split(" --hash=")
        parsed = Requirement(requirement.strip())
        assert canonicalize_name(parsed.name) not in found, parsed.name
        found[canonicalize_name(parsed.name)] = parsed, [each.strip() for each in hashes]
    return found


@pytest.mark.parametrize("name", PINNED)
def test_every_requirement_is_one_version_with_hashes(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()

    # No file names a place to load from.
    assert "://" not in text
    assert "--index" not in text
    for requirement, hashes in pinned(name).values():
        assert [each.operator for each in requirement.specifier] == ["=="], requirement
        assert hashes, requirement
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", each) for each in hashes), requirement
        assert not requirement.name.startswith(LEFT), requirement


@pytest.mark.parametrize("name", PINNED)
def test_pinned_versions_are_those_that_were_tested_together(name: str) -> None:
    tested = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines()[1:]:
        requirement = Requirement(line)
        tested[canonicalize_name(requirement.name)] = str(requirement.specifier)

    for each, (requirement, _) in pinned(name).items():
        assert str(requirement.specifier) == tested.get(each, str(requirement.specifier)), each
    assert len(set(pinned(name)) & set(tested)) > 40


@pytest.mark.parametrize(("name", "extras"), [("core", ()), ("full", ("all", "dev"))])
def test_whatever_setup_asks_for_is_pinned(name: str, extras: tuple[str, ...]) -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options"]["install_requires"].split("\n")
    for extra in extras:
        lines += setup["options.extras_require"][extra].split("\n")
    asked = {Requirement(line).name: Requirement(line) for line in lines if line.strip()}
    inner = asked.pop("archgym", None)
    for extra in inner.extras if inner else ():
        for line in setup["options.extras_require"][extra].split():
            asked[Requirement(line).name] = Requirement(line)
    found = pinned(name)

    assert "setuptools" in found
    for requirement in asked.values():
        if not requirement.name.startswith(LEFT):
            version = next(iter(found[canonicalize_name(requirement.name)][0].specifier)).version
            assert requirement.specifier.contains(version), requirement


def test_commands_of_the_readme_install_by_hash() -> None:
    text = (ROOT / "Makefile").read_text()

    assert "PINNED := install --no-deps --require-hashes" in text
    for name in PINNED:
        assert f"$(PINNED) -r requirements/{name}.txt" in text.replace(" --no-compile", "")
