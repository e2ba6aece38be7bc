"""Users' devices and address mappings by file: in DRAMSys' JSON form, or in a form of our own.

Our own forms are YAML or JSON. A device changes a shipped one:

    format: 1
    extends: ddr3-1600
    source: data sheet of my part
    clock_mhz: 933
    organisation: {n_ranks: 2}
    timing: {RCD: 13, RP: 13}
    current: {IDD0: 60}

A mapping orders the fields of an address. Files of DRAMSys list the bits of each field:

    format: 1
    order: [rank, row, bank, group, column]   # the most significant first
    bank_xor_row: true                        # bank bits xor the lowest row bits
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from archgym.simulators.dram.dramsys.devices import Device, device, dramsys_device_names
from archgym.simulators.dram.dramsys.mapping import (
    FIELDS,
    LAYOUTS,
    AddressMapping,
    layout,
    ordered_mapping,
    reference_mapping,
    reference_mapping_names,
)
from archgym.simulators.dram.formats.dramsys import (
    check_device,
    read_mapping,
    read_memspec,
    read_tree,
)
from archgym.simulators.kit import (
    FileFormatError,
    InvalidArgumentError,
    Node,
    open_file,
    read_document,
    storage_errors,
    unknown_name,
)

# chosen: far above any clock count and current, so that no sum overflows.
_MAX: Final = 2**31
_FORMAT: Final = 1
_DIGITS: Final = 16
_ENDINGS: Final = (".json", ".yaml", ".yml")
_SIZES: Final = (
    "data_rate", "burst_length", "width_bits", "n_devices",
    "n_ranks", "n_groups", "n_banks", "n_rows", "n_columns",
)  # fmt: skip


def is_file_name(text: str) -> bool:
    """Return True if the text of an option names a file and nothing that ships."""
    path = text.partition("#")[0]
    return path.endswith(_ENDINGS) or "/" in path


def cite_file(text: str) -> tuple[Path, str]:
    """Return a file's path, and the name under which a task cites it: `path#digest`.

    Args:
      text: Path, or such a name; a file that changed since is refused.

    Raises:
      FileFormatError: The file has changed.
      StorageError: It cannot be read.
    """
    name, _, digest = text.partition("#")
    path = Path(name)
    with storage_errors(path, "read"), open_file(path) as handle:
        found = hashlib.sha256(handle.read()).hexdigest()[:_DIGITS]
    if digest and digest != found:
        raise FileFormatError(
            path,
            None,
            f"the file has changed: its digest must be {digest}; got {found}",
            "Restore the file, or start a new study",
        )
    return path, f"{name}#{found}"


def load_device(name: str) -> Device:
    """Return the shipped device of a name, or that of a file, named as a task cites it.

    Raises:
      UnknownNameError: No device has this name.
      FileFormatError: The file is not a device.
    """
    if name in dramsys_device_names() or not is_file_name(name):
        return device(name)
    path, cited = cite_file(name)
    root = _root(path)
    is_ours = isinstance(root.value, Mapping) and "format" in root.value
    return replace(_own_device(root) if is_ours else read_memspec(path), name=cited)


def extended_device(name: str) -> str | None:
    """Return the shipped device that a file of our own form changes; None for any other device.

    Raises:
      FileFormatError: The file cannot be read.
    """
    if name in dramsys_device_names() or not is_file_name(name):
        return None
    root = _root(Path(name.partition("#")[0]))
    members = root.value if isinstance(root.value, Mapping) else {}
    if "format" not in members or "extends" not in members:
        return None
    extended: Node = members["extends"]
    return extended.text("`extends`")


def _root(path: Path) -> Node:
    return read_tree(path) if path.suffix == ".json" else read_document(path).root


def load_mapping(name: str, made: Device) -> AddressMapping:
    """Return the mapping of a file, a layout or a reference's name for a device.

    Raises:
      UnknownNameError: There is no such mapping.
      FileFormatError, InvalidArgumentError: The mapping does not fit the device.
    """
    if name in LAYOUTS:
        return layout(name, made)
    if not is_file_name(name):
        if name not in reference_mapping_names():
            raise unknown_name("address mapping", name, (*LAYOUTS, *reference_mapping_names()))
        mapping = reference_mapping(name)
        mapping.check(made)
        return mapping
    path, cited = cite_file(name)
    root = _root(path)
    is_ours = isinstance(root.value, Mapping) and "format" in root.value
    mapping = _own_mapping(root, made) if is_ours else read_mapping(path)
    try:
        mapping.check(made)
    except InvalidArgumentError as error:
        raise root.refusal(str(error)) from None
    return replace(mapping, name=cited)


def _own_device(root: Node) -> Device:
    top = root.members(
        "a device file",
        ("format", "extends", "source", "title", "clock_mhz", "organisation", "timing", "current"),
        ("format", "extends", "source"),
    )
    check_format(top)
    base_name = top["extends"].choice("`extends`", dramsys_device_names())
    base = device(base_name)
    source = top["source"].text("`source`")
    sizes: dict[str, Any] = {
        key: node.whole(f"`{key}`", 1, 2**24)
        for key, node in members_of(top, "organisation", _SIZES).items()
    }
    timing = {
        key: node.whole(f"`{key}`", 0, _MAX)
        for key, node in members_of(top, "timing", tuple(base.timing)).items()
    }
    if "current" in top and not base.current:
        raise top["current"].refusal(
            f"`current` must be left out for {base_name}, whose standard has no energy here"
        )
    current = {
        key: node.number(f"`{key}`", 0.0, _MAX)
        for key, node in members_of(top, "current", tuple(base.current)).items()
    }
    try:
        made = replace(
            base,
            title=top["title"].text("`title`") if "title" in top else base.title,
            clock_mhz=(
                top["clock_mhz"].number("`clock_mhz`", 1.0, 1e5)
                if "clock_mhz" in top
                else base.clock_mhz
            ),
            **sizes,
            timing=MappingProxyType({**base.timing, **timing}),
            current=MappingProxyType({**base.current, **current}),
            source=MappingProxyType({**base.source, **dict.fromkeys((*timing, *current), source)}),
            is_energy_validated=False,
        )
    except InvalidArgumentError as error:
        raise root.refusal(str(error)) from None
    check_device(root, made)
    return made


def _own_mapping(root: Node, made: Device) -> AddressMapping:
    known = ("format", "order", "bank_xor_row")
    top = root.members("an address mapping", known, ("format", "order"))
    check_format(top)
    fields = tuple(field.text("a field") for field in top["order"].items("`order`"))
    if sorted(fields) != sorted(FIELDS):
        raise top["order"].refusal(
            f"`order` must name each of {', '.join(FIELDS)} once; got {', '.join(fields)}"
        )
    folds = "bank_xor_row" in top and top["bank_xor_row"].flag("`bank_xor_row`")
    return ordered_mapping("own", fields, made, folds)


def check_format(top: Mapping[str, Node]) -> None:
    """Refuse a file of another format."""
    if top["format"].whole("`format`", 0, 10**6) != _FORMAT:
        raise top["format"].refusal(
            f"the file must have `format` {_FORMAT}; got {top['format'].kind}",
            "It may be of a newer ArchGym",
        )


def members_of(
    top: Mapping[str, Node], name: str, known: tuple[str, ...] | None = None
) -> Mapping[str, Node]:
    """Return the members of a mapping that may be left out."""
    return top[name].members(f"`{name}`", known) if name in top else {}
