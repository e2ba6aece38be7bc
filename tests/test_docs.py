"""Every command and every block of Python in the documentation runs; its links lead somewhere."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from archgym.cli.app import run
from archgym.errors import ArchGymError
from archgym.evaluation.options import make_simulator
from archgym.evaluation.simulator import simulator_class, simulator_names
from archgym.rules.domain import domain, domain_names

ROOT = Path(__file__).resolve().parent.parent
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
BLOCK = re.compile(
    r"(?P<slow><!-- slow -->\n)?```(?P<kind>bash|python|yaml\n# (?=[a-z-]+\.yaml\n))\n?"
    r"(?P<text>.*?)```",
    re.DOTALL,
)


def blocks(page: str, *, slow: bool) -> Iterator[tuple[str, str]]:
    """Kind and text of the blocks of a page that are to be run."""
    for match in BLOCK.finditer((ROOT / page).read_text()):
        if bool(match["slow"]) == slow:
            # A file that the page gives is YAML with its name in the first line.
            yield match["kind"].split("\n")[0], match["text"]


def run_block(kind: str, text: str, names: dict[str, object]) -> None:
    if kind == "yaml":
        Path(text.split("\n", 1)[0]).write_text(text.split("\n", 1)[1])
        return
    if kind == "python" and "__main__" in text:
        # A script of its own, which processes that it spawns import again.
        Path("script.py").write_text(text)
        subprocess.run([sys.executable, "script.py"], check=True, timeout=100)
        return
    if kind == "python":
        exec(compile(text, "block", "exec"), names)
        return
    for line in text.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "archgym", line
        if arguments[:2] == ["trace", "record"] and shutil.which("valgrind") is None:
            pytest.skip("needs valgrind")
        with pytest.raises(SystemExit) as ended:
            run(arguments)
        assert ended.value.code == 0, line


@pytest.mark.parametrize("page", [page for page in PAGES if list(blocks(page, slow=False))])
def test_blocks_of_a_page_run_in_their_order(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # A module of its own, so that its classes can be pickled.
    module = ModuleType("block")
    monkeypatch.setitem(sys.modules, "block", module)

    for kind, text in blocks(page, slow=False):
        run_block(kind, text, vars(module))


def in_groups(pages: list[str]) -> Iterator[object]:
    """Pages, of which the one that starts Ray runs beside no other test that does."""
    for page in pages:
        starts_ray = page == "docs/rl.md"
        yield pytest.param(page, marks=[pytest.mark.xdist_group("ray")] if starts_ray else [])


@pytest.mark.nightly
@pytest.mark.parametrize(
    "page", list(in_groups([page for page in PAGES if list(blocks(page, slow=True))]))
)
def test_long_blocks_of_a_page_run(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("stable_baselines3")
    if page == "docs/accelerator.md":
        pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)

    for kind, text in blocks(page, slow=True):
        # As written it trains for a minute or more; a tenth shows that it runs.
        run_block(kind, text.replace("20_000", "2_000"), {"__name__": "block"})


def options_in_sentences() -> Iterator[tuple[str, str, str]]:
    """Page, name and value of the options that sentences and tables name with a value."""
    for page in PAGES:
        sentences = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.DOTALL)
        for name, value in re.findall(r"--option ([a-z_]+)=([^`\s]+)", sentences):
            if not value.isupper():  # FILE and N stand for a value.
                yield page, name, value


@pytest.mark.parametrize(("page", "name", "value"), list(options_in_sentences()))
def test_options_in_sentences_are_accepted(page: str, name: str, value: str) -> None:
    if any(name in domain(each).options for each in domain_names()):
        return  # An option of `rule`, whose values a trace decides.
    topic, known = Path(page).stem, simulator_names()
    kinds = [simulator_class(each) for each in ((topic,) if topic in known else known)]
    refusals = []
    for kind in kinds:
        for space in kind.spec.space_names or (None,):
            try:
                make_simulator(kind, space, None, {name: value})
                return
            except ArchGymError as error:
                refusals.append(str(error))

    pytest.fail("\n".join(refusals))


def test_generated_pages_are_up_to_date_and_links_lead_somewhere() -> None:
    ran = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr


def test_make_has_the_targets_that_the_documentation_names() -> None:
    makefile = (ROOT / "Makefile").read_text()

    for page in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"(?:`|\$ )make ([a-z-]+)", (ROOT / page).read_text()):
            assert f"\n{target}:" in makefile, target
