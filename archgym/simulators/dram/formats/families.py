"""Users' device families by file, in the form that `formats.devices` describes.

A file that extends a family of `FAMILIES` has `bins`, which maps names to `tCK_ps` and `clocks`;
`base` in a bin names a shipped bin whose parameters it changes. `organisations` may add
organisations, with the fields of the shipped ones.
"""

import re
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from archgym.simulators.dram.formats.devices import check_format, members_of
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
    InvalidArgumentError,
    Node,
    read_document,
    unknown_name,
)

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
