"""Tests of the options that constructors declare."""

import inspect
import math
import pickle
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated

import pytest

from archgym.errors import ArchGymError, InvalidArgumentError, UnknownNameError
from archgym.evaluation.capabilities import option_names
from archgym.evaluation.options import Option, declared, declared_options, make_simulator
from archgym.evaluation.simulator import (
    Simulator,
    simulator_class,
    simulator_names,
)
from archgym.evaluation.spec import SimulatorSpec


class Timer:
    spec = SimulatorSpec(
        name="timer", space_names=("default", "small"), fidelity_names=("exact", "quick")
    )

    @declared
    def __init__(
        self,
        space: str = "default",
        fidelity: str = "exact",
        ticks: Annotated[int, Option("Ticks.", low=1, high=10**7)] = 8,
        scale: Annotated[float | None, Option("Scale.", low=0.5, high=2.0)] = None,
        kind: Annotated[str, Option("Kind.", choices=("quartz", "atomic"))] = "quartz",
        wraps: Annotated[bool, Option("Wrap.")] = False,
        limit: Annotated[float, Option("Limit.", low=1, unit="W", word="none")] = math.inf,
    ) -> None:
        self.given = (space, ticks, scale, kind, wraps)
        self.limit = limit


@dataclass(frozen=True, kw_only=True)
class Alarm:
    hour: Annotated[int, Option("Hour of the alarm.", high=23, unit="h")] = 7
    tone: Annotated[str, Option("Tone.", choices=("bell", "buzzer"))] = "bell"


class Clock:
    spec = SimulatorSpec(name="clock", space_names=("default",), fidelity_names=("exact",))

    @declared
    def __init__(
        self,
        space: str = "default",
        *,
        hands: Annotated[int, Option("Hands.", low=1, high=3)] = 2,
        alarm: Alarm,
        wakes: Annotated[bool, Option("Wake.")] = False,
    ) -> None:
        self.given = (space, hands, alarm, wakes)


def test_fields_of_a_group_are_options_by_name() -> None:
    clock = Clock(wakes="true", tone="buzzer", hour="9")

    assert clock.given == ("default", 2, Alarm(hour=9, tone="buzzer"), True)
    assert list(clock.spec.options.items()) == [
        ("hour", "9"), ("tone", "buzzer"), ("wakes", "true")
    ]  # fmt: skip
    assert [option.name for option in declared_options(Clock)] == ["hands", "hour", "tone", "wakes"]
    assert Clock(hour=7).spec.options == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [({"hour": 24}, "`hour` must be a whole number from 0 to 23"), ({"tone": "bel"}, "Did you")],
)
def test_field_of_a_group_outside_its_limits_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ArchGymError, match=message):
        Clock(**options)


def test_group_is_given_by_its_fields_alone() -> None:
    with pytest.raises(TypeError, match="alarm"):
        Clock(alarm=Alarm())


def test_field_of_a_group_without_an_option_is_refused() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Case:
        width: Annotated[int, Option("Width.")] = 1
        colour: str = "red"

    def construct(self: object, *, case: Case) -> None: ...

    with pytest.raises(InvalidArgumentError, match="`colour` lacks one"):
        declared(construct)


def groups_of(kind: type) -> list[type]:
    constructor = getattr(kind.__init__, "__wrapped__", kind.__init__)
    arguments = inspect.signature(constructor, eval_str=True).parameters.values()
    return [a.annotation for a in arguments if is_dataclass(a.annotation)]


@pytest.mark.parametrize("name", simulator_names())
def test_every_option_of_a_group_is_listed_parsed_pickled_and_in_the_id(name: str) -> None:
    kind = simulator_class(name)
    listed = {option.name: option for option in declared_options(kind)}
    for group in groups_of(kind):
        for each in fields(group):
            option = listed[each.name]
            assert each.name in option_names(kind)
            assert option.parsed(option.text(option.default)) == option.default == each.default
            assert inspect.signature(kind).parameters[each.name].default == each.default
            ends = (option.option.high, option.option.low)
            texts = {"release": ("vllm 0.11",), "lengths": ("512+128",)}.get(each.name, ())
            samples = (*texts, *option.samples, *ends)
            other = next(o for o in samples if option.parsed(o) != each.default)
            # Prices need a node or years, and the way of heat to the air needs windows.
            known = {"node": "7nm", "years": "3", "window_us": "1"}
            needed = {name: text for name, text in known.items() if name in listed}
            needed |= {"engine": "vllm"} if each.name == "release" else {}
            # Workers of one kind need those of the other one, and clients.
            is_worker = each.name in ("prefill_workers", "decode_workers")
            if is_worker:
                needed |= {"prefill_workers": "1", "decode_workers": "1", "clients": "8"}
            space = "closed-loop" if is_worker else None
            simulator = make_simulator(kind, space, None, needed | {each.name: str(other)})
            for made in (simulator, pickle.loads(pickle.dumps(simulator))):
                assert made.spec.options[each.name] == option.text(option.parsed(other))
            chosen = [name for name in listed if name in simulator.spec.options]
            assert list(simulator.spec.options) == chosen


def test_texts_and_values_make_equal_simulators() -> None:
    texts: dict = {"ticks": "12", "scale": "1.5", "kind": "atomic", "wraps": "true"}
    values: dict = {"ticks": 12, "scale": 1.5, "kind": "atomic", "wraps": True}

    by_text, by_value = Timer("small", **texts), Timer("small", **values)

    assert by_text.given == by_value.given == ("small", 12, 1.5, "atomic", True)
    assert by_text.spec.options == by_value.spec.options == texts


def test_whole_number_may_have_an_exponent_and_has_one_id() -> None:
    for given in ("1e3", 1e3, "1000"):
        assert (Timer(ticks=given).given[1], Timer(ticks=given).spec.options) == (
            1000,
            {"ticks": "1000"},
        )


def test_a_word_stands_for_the_default() -> None:
    free, limited = Timer(limit="none"), Timer(limit="2.5")

    assert (free.limit, free.spec.options) == (math.inf, {})
    assert (limited.limit, limited.spec.options) == (2.5, {"limit": "2.5"})
    assert declared_options(Timer)[-1].values == "none, or 1 to 1e+12 W"


def test_defaults_and_empty_texts_are_left_out_of_options() -> None:
    timer = Timer(ticks="8", scale="", kind="", wraps="false")

    assert timer.spec.options == {}
    assert timer.given == ("default", 8, None, "quartz", False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ticks": "0"}, "`ticks` must be a whole number from 1 to 10,000,000; got '0'"),
        ({"ticks": "7.5"}, "`ticks` must be a whole number"),
        ({"ticks": 7.5}, "`ticks` must be a whole number"),
        ({"ticks": True}, "`ticks` must be a whole number"),
        ({"scale": "3"}, "`scale` must be a number from 0.5 to 2.0; got 3.0"),
        ({"scale": "nan"}, "`scale` must be a number"),
        ({"scale": "x"}, "`scale` must be a number from 0.5 to 2.0; got 'x'"),
        ({"wraps": "perhaps"}, "`wraps` must be true or false; got 'perhaps'"),
    ],
)
def test_value_outside_its_limits_is_refused(options: dict, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Timer(**options)


@pytest.mark.parametrize("given", [{"kind": "atomik"}, {"space": "smal"}, {"fidelity": "exakt"}])
def test_unknown_name_suggests_the_nearest(given: dict) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean"):
        Timer(**given)


def test_declared_options_tell_types_and_values() -> None:
    options = {option.name: option for option in declared_options(Timer)}

    assert list(options) == ["ticks", "scale", "kind", "wraps", "limit"]
    assert options["ticks"].kind is int
    assert options["scale"].values == "0.5 to 2"
    assert options["kind"].values == "quartz, atomic"


def made_with_defaults_written_out(kind: type[Simulator]) -> list[Simulator]:
    return [
        make_simulator(kind, None, None, {option.name: option.text(option.default)})
        for option in declared_options(kind)
        if option.default not in ("", None)
        and (option.kind not in (int, float) or option.default >= option.option.low)
        and option.default != float("inf")
    ]


@pytest.mark.parametrize("name", simulator_names())
def test_every_declared_default_can_be_written_out_and_pickled(name: str) -> None:
    for simulator in made_with_defaults_written_out(simulator_class(name)):
        again = pickle.loads(pickle.dumps(simulator))

        assert simulator.options == {}
        assert again.options == {}
        assert again.space == simulator.space


@pytest.mark.parametrize("name", simulator_names())
def test_every_declared_option_has_a_phrase_for_help(name: str) -> None:
    for option in declared_options(simulator_class(name)):
        assert option.option.doc.endswith("."), option.name
        assert option.values or option.kind is str, option.name


@pytest.mark.parametrize("name", simulator_names())
def test_every_stated_end_of_a_whole_number_is_taken(name: str) -> None:
    for option in declared_options(simulator_class(name)):
        if option.kind is int:
            low, _, high = option.values.split(", or ")[-1].split(" ")[:3]
            for text in (low, high):
                number = int(text.replace(",", ""))
                assert option.parsed(str(number)) in (number, option.default), option.name


def test_forms_of_a_number_make_one_task() -> None:
    found = {Timer(scale=form).spec.options["scale"] for form in (2.0, 2, "2", "2.0", "2e0")}

    assert found == {"2"}


def test_every_number_option_has_one_text() -> None:
    for name in simulator_names():
        for option in declared_options(simulator_class(name)):
            if option.kind is float:
                value = min(option.option.low + 1, option.option.high)
                forms = (value, f"{value:.6f}0", f"{value:.8e}")
                assert len({option.text(option.parsed(form)) for form in forms}) == 1


def test_path_in_this_folder_is_no_known_name() -> None:
    with pytest.raises(ArchGymError, match="ddr4 cannot be read"):
        make_simulator(simulator_class("dram"), None, None, {"device": "./ddr4"})
