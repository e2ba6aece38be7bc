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

A file that extends a family of `FAMILIES` has `bins`, which maps names to `tCK_ps` and `clocks`;
`base` in a bin names a shipped bin whose parameters it changes. `organisations` may add
organisations, with the fields of the shipped ones.
"""

import hashlib
import re
import statistics
from collections.abc import Iterable, Mapping
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
from archgym.simulators.dram.ramulator.machine import (
    FAMILIES,
    Bin,
    Organisation,
    Standard,
    speed_bins,
    standard,
)
from archgym.simulators.kit import (
    Document,
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


# chosen: long enough for names of data sheets, and nothing that a terminal or reader would obey.
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,39}")
# chosen: far above any clock count of a device, and small enough that no sum overflows.
_MAX_CLOCKS: Final = 10**6
# chosen: a tick of 1 fs to 1 us covers every clock.
_MAX_PERIOD_PS: Final = 10**6


def load_standard(name: str | Path) -> Standard:
    """Return the family of this name, or the user's devices in the file at this path.

    Raises:
      UnknownNameError: It is neither a family nor a file.
      FileFormatError: The file is not as described; the error names the line.
    """
    text = str(name)
    if text in FAMILIES:
        return standard(text)
    if isinstance(name, Path) or text.endswith((".json", ".yaml", ".yml")) or Path(text).exists():
        return _from_file(Path(text))
    raise unknown_name("device", text, (*FAMILIES, *speed_bins()))


def _from_file(path: Path) -> Standard:
    document = read_document(path)
    root = document.root.members(
        "a device file",
        ("format", "extends", "title", "source", "organisations", "bins"),
        ("format", "extends", "source"),
    )
    check_format(root)
    family = root["extends"].choice("`extends`", FAMILIES)
    base = standard(family)
    source = root["source"].text("`source`")
    organisations = dict(base.organisations)
    for name, node in members_of(root, "organisations").items():
        _check_name(name, node, "an organisation", base.organisations)
        organisations[name] = _organisation(name, node, base)
    bins = {}
    for name, node in members_of(root, "bins").items():
        _check_name(name, node, "a speed bin", base.bins)
        bins[name] = _bin(name, node, base, source, organisations)
    if not bins:
        raise document.root.refusal("a device file must state at least one bin in `bins`")
    made = replace(
        base,
        name=path.name.removesuffix(path.suffix),
        title=root["title"].text("`title`") if "title" in root else base.title,
        organisations=MappingProxyType(organisations),
        bins=MappingProxyType(bins),
        source=source,
        path=path,
    )
    _check(made, base, document)
    return made


def _check_name(name: str, node: Node, what: str, shipped: Iterable[str]) -> None:
    """Refuse a name that is no word, or that a shipped device has."""
    if not _NAME.fullmatch(name):
        raise node.refusal(
            f"the name of {what} must have 1 to 40 letters, digits, '_', '-' and '.'; got {name!r}"
        )
    if name in shipped:
        raise node.refusal(f"the name of {what} must differ from the shipped ones; got {name!r}")


def _organisation(name: str, node: Node, base: Standard) -> Organisation:
    levels = (*base.levels, "Row", "Column")
    fields = ("density_mbit", "dq", "channel_width", "burst_beats", "sizes")
    entry = node.members("an organisation", fields, fields)
    sizes = entry["sizes"].members("`sizes`", levels, levels)
    found = {level: _power(sizes[level], f"`{level}`", 2**24) for level in levels}
    if "Rank" in found and found["Rank"] != 1:
        raise sizes["Rank"].refusal("`Rank` must be 1, since designs set the ranks")
    made = Organisation(
        name=name,
        density_mbit=entry["density_mbit"].whole("`density_mbit`", 1, 2**24),
        dq=_power(entry["dq"], "`dq`", 128),
        channel_width=_power(entry["channel_width"], "`channel_width`", 128),
        burst_beats=_power(entry["burst_beats"], "`burst_beats`", 64),
        sizes=MappingProxyType(found),
    )
    n_banks = 1
    for level in base.levels:
        n_banks *= found[level]
    if n_banks > 256:
        raise entry["sizes"].refusal(f"a channel must have at most 256 banks a rank; got {n_banks}")
    if made.channel_width < made.dq:
        raise entry["dq"].refusal("`dq` must be at most `channel_width`")
    if made.burst_beats > found["Column"]:
        raise entry["burst_beats"].refusal("`burst_beats` must be at most the columns of a row")
    return made


def _power(node: Node, what: str, high: int) -> int:
    value = node.whole(what, 1, high)
    if value & (value - 1):
        raise node.refusal(f"{what} must be a power of two; got {value}")
    return value


def _bin(
    name: str,
    node: Node,
    base: Standard,
    source: str,
    organisations: Mapping[str, Organisation],
) -> Bin:
    known_keys = ("base", "tCK_ps", "clocks", "by_organisation")
    entry = node.members("a speed bin", known_keys, ("tCK_ps",))
    known = next(iter(base.bins.values()))
    parameters = (*known.clocks, *known.by_organisation)
    clocks: dict[str, int] = {}
    by_organisation: dict[str, Mapping[str, int]] = {}
    if "base" in entry:
        like = entry["base"].choice("`base`", base.bins)
        clocks |= base.bins[like].clocks
        by_organisation |= base.bins[like].by_organisation
        # The data rate follows from the clock unless it is stated.
        period = entry["tCK_ps"].whole("`tCK_ps`", base.ticks_per_clock, _MAX_PERIOD_PS)
        clocks["rate"] = round(clocks["rate"] * base.bins[like].t_ck_ps / period)
    for parameter, value in members_of(entry, "clocks", parameters).items():
        clocks[parameter] = value.whole(f"`{parameter}`", 0, _MAX_CLOCKS)
        by_organisation.pop(parameter, None)
    for parameter, values in members_of(entry, "by_organisation", parameters).items():
        by_organisation[parameter] = dict(by_organisation.get(parameter, {})) | {
            organisation: value.whole(f"`{parameter}`", 0, _MAX_CLOCKS)
            for organisation, value in values.members(f"`{parameter}`", organisations).items()
        }
        clocks.pop(parameter, None)
    absent = [p for p in parameters if p not in clocks and p not in by_organisation]
    if absent:
        raise node.refusal(
            f"speed bin {name!r} must state {', '.join(f'`{p}`' for p in absent)}",
            "Name a shipped bin as `base` to take over what it does not change",
        )
    return Bin(
        name=name,
        t_ck_ps=entry["tCK_ps"].whole("`tCK_ps`", base.ticks_per_clock, _MAX_PERIOD_PS),
        clocks=clocks,
        by_organisation=by_organisation,
        source=source,
    )


def _check(made: Standard, base: Standard, document: Document) -> None:
    """Refuse bins that no controller can run, or whose data rate contradicts their clock."""
    # Transfers of a clock, in MT/s times ps, are the same for all bins of a family.
    products = [
        speed.t_ck_ps * speed.values(organisation)["rate"]
        for speed in base.bins.values()
        for organisation in base.organisations
    ]
    for name, speed in made.bins.items():
        node = document.at("bins", name)
        for organisation in made.organisations:
            try:
                values = speed.values(organisation)
            except InvalidArgumentError as error:
                raise node.refusal(str(error)) from None
            for parameter in ("nREFI", "nBL", "nBL_min", "nCL", "nCWL", "nREFIpb", "nAAD"):
                if values.get(parameter, 1) < 1:
                    raise node.refusal(f"`{parameter}` must be at least 1 clock; got 0")
            product = speed.t_ck_ps * values["rate"]
            if not 0.98 * min(products) <= product <= 1.02 * max(products):
                raise node.refusal(
                    f"`rate` must fit `tCK_ps`: {speed.t_ck_ps} ps make about "
                    f"{statistics.median(products) / speed.t_ck_ps:.0f} MT/s; got {values['rate']}"
                )
            if values["nREFI"] <= values.get("nRFC", values.get("nRFCab", 0)):
                raise node.refusal(
                    "`nREFI` must exceed the duration of a refresh, so that the device can work"
                )
