"""The installation as `archgym doctor` reports it."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as real_version
from pathlib import Path

import pytest

from archgym.runtime import installation
from archgym.runtime.installation import examine


def test_core_install_has_no_problem() -> None:
    found = examine()

    assert found.problems == ()
    assert found.versions["numpy"] == real_version("numpy")


def test_missing_package_of_an_extra_comes_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def without_torch(name: str) -> str:
        if name == "torch":
            raise PackageNotFoundError(name)
        return real_version(name)

    monkeypatch.setattr(installation, "version", without_torch)

    feature = {feature.name: feature for feature in examine().features}["rl"]

    assert feature.missing == ("torch",)
    assert feature.remedy.endswith("-m pip install 'archgym[rl]'")


def test_old_required_package_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def old_numpy(name: str) -> str:
        return "1.26.4" if name == "numpy" else real_version(name)

    monkeypatch.setattr(installation, "version", old_numpy)

    (problem,) = examine().problems

    assert problem == (
        "numpy>=2.0 is needed; found 1.26.4. Install it with: pip install 'numpy>=2.0'"
    )


def test_missing_program_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    features = {feature.name: feature for feature in examine().features}

    assert features["valgrind"].missing == ("valgrind",)
    assert features["valgrind"].remedy == "apt-get install valgrind"
