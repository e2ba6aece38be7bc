"""Requests that wait for earlier answers: hand-made programs, and any cut of a program."""

from typing import Any

import numpy as np
import pytest

from archgym.simulators.dram.workloads.shipped import request_trace
from archgym.traces.caches import CacheSize
from archgym.traces.dataflow import program_parts
from archgym.traces.filtering import Requests, memory_requests
from archgym.traces.instructions.generators import GENERATORS, generate
from archgym.traces.instructions.records import RECORD

A, B, C, SP, FLAGS, XMM = 1, 2, 3, 6, 25, 30
FAR = 1 << 20  # lines that are never near each other

Instruction = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def load(to: int, *sources: int, at: int) -> Instruction:
    return (to,), sources, (at,), ()


def store(*sources: int, at: int) -> Instruction:
    return (), sources, (), (at,)


def records(*program: Instruction) -> np.ndarray:
    made = np.zeros(len(program), dtype=RECORD)
    made["ip"] = 0x400000 + 4 * np.arange(len(program))
    for number, columns in enumerate(program):
        for name, values in zip(
            ("destinations", "sources", "reads", "writes"), columns, strict=True
        ):
            made[name][number, : len(values)] = values
    return made


def filtered(*pieces: np.ndarray, **options: Any) -> Requests:
    return memory_requests(
        lambda: program_parts(iter(pieces)),
        first=CacheSize(64 * 8, 2),
        last=CacheSize(64 * 32, 4),
        capacity_bytes=2**32,
        **options,
    )


def waits(*program: Instruction) -> list[int]:
    found: list[int] = filtered(records(*program)).waits_for.tolist()
    return found


def test_address_from_a_register_that_was_loaded_waits() -> None:
    walk = [load(A, A, at=FAR * k) for k in range(1, 5)]

    assert waits(*walk) == [-1, 0, 1, 2]


def test_calculation_hands_the_wait_on() -> None:
    # b = a + c; read at b, plus a vector register that no address is made of.
    assert waits(
        load(A, at=FAR), ((B,), (A, C), (), ()), load(C, B, XMM, at=2 * FAR)
    ) == [-1, 0]  # fmt: skip


def test_overwritten_register_waits_no_longer() -> None:
    assert waits(load(A, at=FAR), ((A,), (), (), ()), load(B, A, at=2 * FAR)) == [-1, -1]


def test_second_field_of_a_node_comes_with_its_line() -> None:
    # The value misses, the next pointer hits in the line that is still under way.
    assert waits(load(B, A, at=FAR), load(A, A, at=FAR + 8), load(B, A, at=2 * FAR)) == [-1, 0]


def test_pointer_that_was_spilled_to_the_stack_waits() -> None:
    stack = 9 * FAR
    assert waits(
        load(B, SP, at=stack),  # so that its line is there
        load(A, at=FAR),
        store(SP, A, at=stack + 16),
        ((A,), (), (), ()),
        load(B, SP, at=stack + 16),
        load(C, B, at=2 * FAR),
    ) == [-1, -1, 1]  # fmt: skip


def test_sum_over_an_array_waits_for_nothing() -> None:
    # add a, [b]: the sum is read and written, and no address.
    adds = [((A, FLAGS), (A, B), (FAR * k,), ()) for k in range(1, 5)]

    assert waits(*adds) == [-1] * 4


def test_stores_and_the_stack_pointer_wait_for_nothing() -> None:
    pop = ((A, SP), (SP,), (FAR,), ())
    assert waits(pop, store(A, at=2 * FAR), load(B, SP, at=3 * FAR)) == [-1, -1, -1]


def test_youngest_of_several_answers_is_waited_for() -> None:
    assert waits(load(A, at=FAR), load(B, at=2 * FAR), load(C, B, A, at=3 * FAR)) == [-1, -1, 1]


def test_wait_for_a_request_that_was_left_out_is_dropped() -> None:
    walk = records(*(load(A, A, at=FAR * k) for k in range(1, 31)))

    assert filtered(walk, skip=2, max_requests=3).waits_for.tolist() == [-1, 0, 1]
    assert filtered(walk, max_requests=4, windows=2).waits_for.tolist() == [-1, 0, -1, 2]
    assert filtered(walk, region=(5, 9)).waits_for.tolist() == [-1, 0, 1, 2]


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_any_cut_of_a_program_gives_the_same_requests(name: str) -> None:
    program = generate(name, 20_000)
    cuts = np.sort(np.random.default_rng(5).integers(0, len(program), size=9))

    whole, parts = filtered(program), filtered(*np.split(program, cuts))

    for column in ("address", "is_write", "instruction", "waits_for"):
        assert np.array_equal(getattr(whole, column), getattr(parts, column)), column
    made = request_trace(whole, name, ipc=1.0, clock_mhz=2000)
    assert len(made.waits_for) in (0, len(made))


def test_programs_that_walk_wait_and_those_that_stream_do_not() -> None:
    share = {
        name: float((filtered(generate(name, 20_000)).waits_for >= 0).mean())
        for name in ("pointer-chase", "b-tree", "stencil")
    }

    assert share["pointer-chase"] > 0.99
    assert share["b-tree"] > 0.8
    assert share["stencil"] == 0
