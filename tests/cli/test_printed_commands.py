"""Commands that are printed: a shell reads the folder as it is, whatever its name."""

import re
import shlex
from pathlib import Path

import pytest

from archgym.files.remote import command_line
from tests.cli.conftest import Archgym

_COMMAND = re.compile(r"(?:^|[ `])archgym (?:\w+ )+.*?(?=`|; also|, with the|$)", re.MULTILINE)


def commands(text: str) -> list[list[str]]:
    return [shlex.split(found.strip(" `")) for found in _COMMAND.findall(text)]


@pytest.mark.parametrize("name", ["-dash", "a b;rm $x", "it's"])
def test_printed_commands_name_the_folder_whatever_it_is_called(
    archgym: Archgym, name: str
) -> None:
    folder = f"./{name}"
    search = ["search", "plugin", "-a", "random", "-n", "4", "--out"]
    texts = [archgym(*search, name).out, archgym("resume", folder).out]
    (metric, *_), evaluation = archgym("decide", folder, "--json").json["best"]["metrics"], "1"
    Path("m.csv").write_text(f"evaluation,{metric}\n{evaluation},1\n")
    texts += [archgym("decide", folder, "--next", "1").out]
    texts += [archgym("measure", folder, "m.csv").out, archgym(*search[:5], "5", "--out", name).err]
    Path("own.csv").write_text(f"{metric}\n1\n")
    texts += [archgym("measure", "plugin", "own.csv", "--to", f"{name}.jsonl").out]

    printed = [words for text in texts for words in commands(text)]

    assert {words[1] for words in printed} >= {"show", "resume", "decide", "explain"}
    for words in printed:
        places = [word for word in words if Path(word).name.startswith(name)]
        assert len(places) == 1, words
        assert not places[0].startswith("-")
        assert Path(places[0]).exists()


def test_path_that_begins_with_a_dash_is_no_option() -> None:
    line = command_line("archgym", "resume", Path("-x y"), "--budget", "3")

    assert shlex.split(line) == ["archgym", "resume", "./-x y", "--budget", "3"]
