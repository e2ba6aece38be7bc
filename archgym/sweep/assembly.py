"""Plans put together: what a plan's file includes, and what is set over it."""

from collections.abc import Sequence
from pathlib import Path
from typing import final

from archgym.document import Document, Node, read_document, read_value
from archgym.errors import InvalidArgumentError, StorageError, unknown_name

__all__ = ["assembled_document"]

# chosen: plans share lists of tasks and of agents; what is more was written by mistake.
_MAX_DEPTH = 8
_MAX_FILES = 64
# chosen: as deep as a plan's file may be.
_MAX_NAMES = 20
# chosen: a line of a terminal; more of a setting tells no more.
_MAX_ECHO = 80


def assembled_document(path: str | Path, settings: Sequence[str] = ()) -> Document:
    """Reads a plan's file with those it includes, and sets values over it.

    Mappings are merged member by member; of anything else the later counts: files in the order of
    their inclusion, then the file that includes them, then the settings. Every value keeps the
    file and line where it stands.

    Args:
      path: The plan's file; files that it includes are looked for beside it.
      settings: Such as ``tasks.x.workload=cloud-2``.

    Raises:
      FileFormatError: A file is not what it should be; the error names its line.
      InvalidArgumentError: A setting is none.
      StorageError: The plan cannot be read.
    """
    path = Path(path)
    root = _Inclusion().read(path, ())
    for setting in settings:
        root = _with_setting(root, setting)
    return Document(path, root)


@final
class _Inclusion:
    """Reads files and what they include, up to a number of them."""

    def __init__(self) -> None:
        self._n_files = 0

    def read(self, path: Path, above: tuple[Path, ...]) -> Node:
        """A file's content, merged with that of what it includes.

        Args:
          path: The file.
          above: Those that include it, the plan's first.
        """
        root = read_document(path).root
        members = dict(root.members("a plan"))
        given = members.pop("include", None)
        own = Node(root.path, root.line, members)
        if given is None:
            return own
        merged = Node(root.path, root.line, {})
        chain = (*above, path)
        for item in given.value if isinstance(given.value, tuple) else (given,):
            merged = _merged(merged, self._included(item, chain))
        return _merged(merged, own)

    def _included(self, item: Node, chain: tuple[Path, ...]) -> Node:
        path = item.path.parent / item.text("an included file")
        if path.resolve() in [each.resolve() for each in chain]:
            raise item.refusal(f"a file must not include itself; {path} does")
        self._n_files += 1
        if len(chain) >= _MAX_DEPTH or self._n_files > _MAX_FILES:
            raise item.refusal(
                f"a plan must include at most {_MAX_FILES} files, at most {_MAX_DEPTH} deep; "
                "this one has more"
            )
        try:
            return self.read(path, chain)
        except StorageError as error:
            problem, _, remedy = str(error).partition(". ")
            raise item.refusal(f"an included file must be readable; {problem}", remedy) from None


def _merged(below: Node, above: Node) -> Node:
    if not isinstance(below.value, dict) or not isinstance(above.value, dict):
        return above
    members = dict(below.value)
    for name, node in above.value.items():
        members[name] = _merged(members[name], node) if name in members else node
    return Node(above.path, above.line, members)


# ---- settings


def _with_setting(root: Node, setting: str) -> Node:
    key, sign, text = setting.partition("=")
    names = [name.strip() for name in key.split(".")]
    if not sign or not all(names) or len(names) > _MAX_NAMES:
        raise InvalidArgumentError(
            "A setting must be a name and a value, such as budget=100 or "
            f"tasks.LABEL.workload=cloud-2; got {setting[:_MAX_ECHO]!r}."
        )
    value = read_value(text, f"--set {key.strip()}")
    if names[0] in ("tasks", "agents") and len(names) > 2:
        labels = Document(root.path, root).at(names[0]).value
        if not isinstance(labels, dict) or names[1] not in labels:
            known = labels if isinstance(labels, dict) else ()
            error = unknown_name(f"{names[0][:-1]} of the plan", names[1], known)
            raise Document(root.path, value).refusal(error)
    return _placed(root, names, value)


def _placed(node: Node, names: Sequence[str], value: Node) -> Node:
    if not names:
        return value
    # Nothing is an empty mapping, as of an agent that has all its defaults.
    if node.value is not None and not isinstance(node.value, dict):
        raise value.refusal(f"`{names[0]}` must be set in a mapping; there is {node.kind}")
    members = dict(node.value or {})
    inner = members.get(names[0], Node(value.path, value.line, None))
    members[names[0]] = _placed(inner, names[1:], value)
    return Node(node.path, node.line, members)
