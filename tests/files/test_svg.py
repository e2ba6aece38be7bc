"""Pictures as SVG: well-formed, escaped, and the same bytes for the same content."""

from xml.etree import ElementTree as ET

from archgym.files.svg import (
    Bar,
    BoxLine,
    GraphBox,
    TimeRow,
    box_lines_svg,
    duration,
    layered_graph_svg,
    timeline_svg,
)

_SVG = "{http://www.w3.org/2000/svg}"


def _widths(text: str, tip: str) -> list[float]:
    rects = ET.fromstring(text).iter(f"{_SVG}rect")
    return [float(r.attrib["width"]) for r in rects if r.findtext(f"{_SVG}title") == tip]


def test_bars_are_as_long_as_their_times() -> None:
    rows = [TimeRow("a<b", "unit", [Bar(0.0, 1.0, "#000", "first"), Bar(1.0, 3.0, "#111", "rest")])]

    text = timeline_svg("t", "h", rows, [1.0, 4.0], ("by:", [("#000", "one")]))

    assert _widths(text, "rest")[0] == 3 * _widths(text, "first")[0]
    assert "a&lt;b" in text
    assert text == timeline_svg("t", "h", rows, [1.0, 4.0], ("by:", [("#000", "one")]))


def test_line_with_many_boxes_continues_in_further_rows() -> None:
    lines = {
        0: BoxLine("bus 0", [[f"b{i}"] for i in range(9)], []),
        2: BoxLine("bus 2", [], [["m"]]),
    }

    root = ET.fromstring(box_lines_svg("t", "h", lines, [(0, 2)]))

    texts = {element.text for element in root.iter(f"{_SVG}text")}
    assert {"bus 0", "bus 2", "m", *(f"b{i}" for i in range(9))} <= texts
    assert float(root.attrib["width"]) < 9 * 128


def test_child_is_drawn_below_its_parent() -> None:
    nodes = [GraphBox(name, "#fff", name) for name in ("top", "left", "right")]

    text = layered_graph_svg("t", "h", nodes, [0, 1, 1], [(0, 1, "1 kB"), (0, 2, "2 kB")])

    at = {e.text: float(e.attrib["y"]) for e in ET.fromstring(text).iter(f"{_SVG}text")}
    assert at["top"] < at["1 kB"] < at["left"] == at["right"]


def test_labels_of_edges_do_not_overlap_and_hidden_ones_are_counted() -> None:
    nodes = [GraphBox(f"n{i}", "#fff", "") for i in range(12)]
    edges = [(i, 6 + j, f"{i}{j} kB") for i in range(6) for j in range(6)]

    text = layered_graph_svg("t", "36 edges", nodes, [0] * 6 + [1] * 6, edges)

    root = ET.fromstring(text)
    at = [
        (float(e.attrib["x"]), float(e.attrib["y"]))
        for e in root.iter(f"{_SVG}text")
        if (e.text or "").endswith(" kB")
    ]
    heading = next(e.text for e in root.iter(f"{_SVG}text") if "edges" in (e.text or ""))
    width, height = 5 * 5.6, 12.0
    for i, (x, y) in enumerate(at):
        assert all(abs(x - u) >= width or abs(y - v) >= height for u, v in at[:i])
    assert 6 <= len(at) < 36
    assert f"({36 - len(at)} of 36 have no room)" in heading
    # Each edge has its label as a text that a pointer shows.
    assert text.count("<title>n") == 36


def test_durations_use_the_largest_unit() -> None:
    assert [duration(t) for t in (2.0, 0.0015, 2.5e-6, 3e-9)] == ["2 s", "1.5 ms", "2.5 us", "3 ns"]
