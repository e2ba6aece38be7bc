"""Check a built site: every link inside it leads somewhere, and no page asks another host."""

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["site_problems"]

# Attributes that a browser loads without a click.
_LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
# Relations of a link that load nothing.
_QUIET = {"canonical", "search", "next", "prev", "index", "author", "copyright"}


class _Page(HTMLParser):
    """Ids, links and loaded files of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record what a tag names or leads to."""
        values = {name: value or "" for name, value in attrs}
        self.ids.update(values[name] for name in ("id", "name") if name in values)
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        target = values.get(_LOADED.get(tag, ""), "")
        if target and values.get("rel", "") not in _QUIET:
            self.loaded.append(target)
            self.links.append(target)


def site_problems(folder: Path) -> Iterator[str]:
    """Yield a message for each broken link and each file that another host would serve."""
    # Pages of source code are Sphinx's own; their links back are not all there.
    paths = [path for path in sorted(folder.rglob("*.html")) if "_modules" not in path.parts]
    pages = {path: _read(path) for path in paths}
    for path, page in pages.items():
        name = path.relative_to(folder)
        for target in page.loaded:
            if urlsplit(target).netloc:
                yield f"{name}: loads {target} from another host"
        for link in dict.fromkeys(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not there.is_file():
                yield f"{name}: the link to {link} leads nowhere"
            elif parts.fragment and there in pages and parts.fragment not in pages[there].ids:
                yield f"{name}: {link} names a section that does not exist"


def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text())
    return page
