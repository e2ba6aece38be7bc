"""Build the documentation site: `python docs/site/build.py [FOLDER]` (default: build/site).

The pages are the Markdown files of docs/ and experiments/, the READMEs of the simulators,
CONTRIBUTING.md and CHANGELOG.md. They are copied into one tree, and links between them are
rewritten, so that the same files read well in a checkout and on the site. Each version gets a
folder of its own; the top page leads to the newest.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from check import site_problems
from keyboard import keyboard_problems, needed_programs

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s#]+)(#[^)\s]*)?(\))")
# The link around a picture.
OUTER = re.compile(r"(\)\]\()([^)\s#]+)(#[^)\s]*)?(\))")
# Pages that are checked with the keyboard; all share the theme.
KEYBOARD_PAGES = ("index.html", "python.html")
PACKAGES = ("evaluation", "spaces", "agent", "studies", "envs", "proxy", "datasets")


def main() -> None:
    """Build the site, check its links, and print its size and the time that it took."""
    start = time.perf_counter()
    out = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "site")
    version = _version()
    source = ROOT / "build" / "site-source"
    shutil.rmtree(source, ignore_errors=True)
    pages = _stage(source)
    _write_api(source)
    environment = os.environ | {"ARCHGYM_SITE_VERSION": version}
    target = out / version
    shutil.rmtree(target, ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going"]
    command += ["-d", str(ROOT / "build" / "site-doctrees")]
    subprocess.run([*command, str(source), str(target)], env=environment, check=True)
    _write_versions(out, version)
    problems = list(site_problems(target.resolve()))
    if missing := needed_programs():
        sys.stdout.write(f"Not checked with the keyboard: {', '.join(missing)} not installed.\n")
    else:
        for name in KEYBOARD_PAGES:
            problems += keyboard_problems(target / name)
    if problems:
        sys.exit("\n".join(problems))
    n_bytes = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    sys.stdout.write(
        f"{target}: {len(pages)} pages and the Python reference, {n_bytes / 1e6:.1f} MB, "
        f"{time.perf_counter() - start:.0f} s\n"
    )


def _version() -> str:
    text = (ROOT / "archgym" / "version.py").read_text()
    found = re.search(r'__version__ = "([^"]+)"', text)
    assert found is not None
    return found[1]


def _pages() -> dict[Path, Path]:
    """Return the place in the site's source of each page of the checkout."""
    pages = {path: path.relative_to(DOCS) for path in DOCS.glob("**/*.md")}
    pages |= {path: path.relative_to(DOCS) for path in DOCS.glob("tutorials/*.ipynb")}
    for path in sorted((ROOT / "archgym" / "simulators").glob("*/README.md")):
        pages[path] = Path("models") / f"{path.parent.name}.md"
    for path in sorted((ROOT / "experiments").glob("*.md")):
        pages[path] = Path("experiments") / path.name
    for name in ("CONTRIBUTING.md", "CHANGELOG.md"):
        pages[ROOT / name] = Path(name.lower())
    pages[ROOT / "README.md"] = Path("readme.md")
    return pages


def _stage(source: Path) -> dict[Path, Path]:
    """Copy pages, pictures and data into one tree and rewrite the links between them."""
    notebooks = {path.stem for path in DOCS.glob("tutorials/*.ipynb")}
    pages = {
        path: place
        for path, place in _pages().items()
        # A tutorial's notebook has outputs; its Markdown twin is the source that people edit.
        if not (path.suffix == ".md" and path.parent.name == "tutorials" and path.stem in notebooks)
    }
    for path, place in pages.items():
        target = source / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            target.write_text(_rewritten(path.read_text(), path, place, pages, source))
        else:
            document = json.loads(path.read_text())
            for cell in document["cells"]:
                if cell["cell_type"] == "markdown":
                    text = "".join(cell["source"])
                    cell["source"] = _rewritten(text, path, place, pages, source)
            target.write_text(json.dumps(document))
    for name in ("conf.py", "_toc.yml"):
        shutil.copy(DOCS / "site" / name, source / name)
    (source / "_static").mkdir(exist_ok=True)
    shutil.copy(DOCS / "site" / "site.css", source / "_static" / "site.css")
    return pages


def _rewritten(text: str, path: Path, place: Path, pages: dict[Path, Path], source: Path) -> str:
    """Return a page's text with links to other pages and copied files as the site has them."""

    def target(found: re.Match[str]) -> str:
        before, link, anchor, after = found[1], found[2], found[3] or "", found[4]
        if "://" in link or link.startswith("mailto:"):
            return found[0]
        linked = (path.parent / link).resolve()
        if linked in pages:
            there = pages[linked]
        elif linked.with_suffix(".ipynb") in pages:
            there = pages[linked.with_suffix(".ipynb")]
        elif linked.is_file():
            # Pictures, plans, examples and data travel with the pages.
            there = Path("files") / linked.relative_to(ROOT)
            (source / there).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(linked, source / there)
        else:
            # A folder of the source tree: no page shows it.
            return before[1:-2] if before.startswith("[") else found[0]
        relative = os.path.relpath(source / there, (source / place).parent)
        return f"{before}{relative}{anchor}{after}"

    return OUTER.sub(target, LINK.sub(target, text))


def _write_api(source: Path) -> None:
    """Write one page of the Python reference for each public package, and one that lists names."""
    folder = source / "api"
    folder.mkdir()
    for package in PACKAGES:
        modules = sorted((ROOT / "archgym" / package).glob("*.py"))
        directives = "\n".join(
            f"## `{path.stem}`\n\n```{{eval-rst}}\n"
            f".. automodule:: archgym.{package}.{path.stem}\n```\n"
            for path in modules
            if not path.stem.startswith("_")
        )
        text = f"# `archgym.{package}`\n\n{directives}"
        (folder / f"archgym.{package}.md").write_text(text)
    import archgym

    lines = []
    for name in sorted(archgym.__all__):
        value = getattr(archgym, name)
        summary = (getattr(value, "__doc__", None) or "").split("\n")[0]
        module = getattr(value, "__module__", "")
        is_linked = module.count(".") == 2 and module.split(".")[1] in PACKAGES
        shown = (
            f"{{py:obj}}`archgym.{name} <{module}.{name}>`" if is_linked else f"`archgym.{name}`"
        )
        lines.append(f"| {shown} | {summary if is_linked else ''} |\n")
    (folder / "archgym.md").write_text(
        "# Python reference\n\nNames of `import archgym`:\n\n| name | purpose |\n|---|---|\n"
        + "".join(lines)
    )


def _write_versions(out: Path, version: str) -> None:
    """Write the list of versions and a page that leads to the newest one."""
    found = sorted(
        (path.name for path in out.iterdir() if path.is_dir()),
        key=lambda name: [int(part) for part in re.findall(r"\d+", name)],
        reverse=True,
    )
    (out / "versions.json").write_text(json.dumps(found))
    links = "".join(f'<li><a href="{name}/index.html">{name}</a></li>' for name in found)
    (out / "index.html").write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>ArchGym</title>'
        f'<meta http-equiv="refresh" content="0; url={found[0]}/index.html">'
        f"<p>Documentation of ArchGym:</p><ul>{links}</ul></html>\n"
    )


if __name__ == "__main__":
    main()
