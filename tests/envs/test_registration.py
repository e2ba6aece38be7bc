"""Environments are there whichever of ArchGym and Gymnasium is imported first."""

import inspect
import subprocess
import sys

import gymnasium
import pytest

from archgym import envs
from archgym.envs import environment_id, environment_ids, register_all
from archgym.evaluation.simulator import simulator_class, simulator_names

ALL = "assert [i for i in gymnasium.registry if i.startswith('archgym/')]; "


def _run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "imports",
    [
        "import archgym, gymnasium; ",
        "import gymnasium, archgym; ",
        "import archgym; from gymnasium.envs.registration import registry; import gymnasium; ",
        "import importlib.util, archgym; importlib.util.find_spec('gymnasium'); import gymnasium; ",
        pytest.param("import archgym, stable_baselines3, gymnasium; ", marks=pytest.mark.slow),
    ],
)
def test_order_of_imports_does_not_matter(imports: str) -> None:
    if "stable_baselines3" in imports:
        pytest.importorskip("stable_baselines3")

    _run(imports + ALL)


@pytest.mark.slow
def test_id_that_names_the_module_imports_it() -> None:
    env_id = next(iter(environment_ids()))

    _run(f"import gymnasium; gymnasium.make('archgym:{env_id}')")


def test_import_of_archgym_stays_light() -> None:
    heavy = "'numpy', 'gymnasium', 'numba', 'pandas', 'sklearn', 'torch', 'ray'"

    _run(f"import archgym, sys; assert not {{{heavy}}} & set(sys.modules)")


def test_public_names_are_not_hidden_by_the_modules_that_hold_them() -> None:
    pytest.importorskip("stable_baselines3")
    names = list(envs.__all__)

    assert all(not inspect.ismodule(getattr(envs, name)) for name in names)


def test_registration_compiles_nothing() -> None:
    _run("import archgym, gymnasium, sys; assert 'numba' not in sys.modules")


def test_gymnasiums_loader_is_left_as_it_was_for_other_modules() -> None:
    out = _run(
        "import sys, archgym; n = len(sys.meta_path); import gymnasium, inspect; "
        "print(n - len(sys.meta_path), inspect.getsource(gymnasium)[:3])"
    )

    assert out.startswith("1 ")


def test_each_simulator_has_one_id_with_its_version() -> None:
    ids = environment_ids()

    assert sorted(ids.values()) == list(simulator_names())
    for env_id, name in ids.items():
        assert env_id == environment_id(name, simulator_class(name).spec.version)
        assert env_id in gymnasium.registry


def test_registering_twice_changes_nothing() -> None:
    before = dict(gymnasium.registry)

    register_all()

    assert gymnasium.registry == before


def test_ids_are_written_as_gymnasium_writes_them() -> None:
    assert environment_id("dram", 3) == "archgym/Dram-v3"
    assert environment_id("moe_serving", 0) == "archgym/MoeServing-v0"
