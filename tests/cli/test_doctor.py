"""`archgym doctor`."""

from tests.cli.conftest import Archgym


def test_doctor_names_versions_storage_and_optional_parts(archgym: Archgym) -> None:
    ran = archgym("doctor")

    assert ran.code == 0, ran.err
    for expected in (
        "archgym",
        "numpy",
        "kernel cache: ",
        "valgrind",
        "The core install is complete.",
    ):
        assert expected in ran.out


def test_doctor_gives_the_same_as_json(archgym: Archgym) -> None:
    found = archgym("doctor", "--json").json

    assert found["problems"] == []
    assert {"rl", "valgrind"} <= {feature["name"] for feature in found["features"]}
