"""`archgym rule`: hardware policies as code: new, check, evaluate, compare."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.cli.console.terminal import heading, notice, number, say, table, write_json
from archgym.cli.options.groups import command_group
from archgym.cli.options.task import JsonOption

if TYPE_CHECKING:
    from archgym.rules.case import Comparison

_INFEASIBLE_CODE = 3

rule_app = command_group("rule", "Write, check and measure hardware policies as code.")

FileArgument = Annotated[Path, typer.Argument(help="File of a rule.", metavar="FILE")]
TraceOption = Annotated[
    list[str],
    typer.Option(
        "--trace",
        help="Trace to measure on: a file, or a preset with a seed such as olmoe:3; repeat for "
        "more.",
        metavar="TRACE",
    ),
]
ChoiceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        help='Option of the domain, such as "capacity=25%"; repeat for more.',
        metavar="NAME=VALUE",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", "-s", help="Value of a tunable constant; repeat for more.", metavar="NAME=VALUE"
    ),
]
SecondsOption = Annotated[
    float,
    typer.Option("--seconds", help="Time limit of one run, with compilation.", min=1, max=3600),
]


@rule_app.command()
def new(
    file: Annotated[Path, typer.Argument(help="New file of the rule.", metavar="FILE")],
    domain: Annotated[
        str, typer.Option("--domain", help="Domain of the rule, such as expert-cache.")
    ] = "expert-cache",
    template: Annotated[
        str | None,
        typer.Option("--template", help="Rule to start from (default: lru, or the first)."),
    ] = None,
) -> None:
    """Write a rule to start from."""
    from archgym.errors import InvalidArgumentError, unknown_name
    from archgym.files.storage import write_atomic
    from archgym.rules.domain import domain as known_domain

    templates = known_domain(domain).templates
    template = template or ("lru" if "lru" in templates else next(iter(templates)))
    if template not in templates:
        raise unknown_name(f"template of domain {domain!r}", template, templates)
    if file.exists():
        raise InvalidArgumentError(f"{file} exists. Choose another file.")
    write_atomic(file, templates[template])
    say(f"Rule: {file}")


@rule_app.command()
def check(file: FileArgument, json: JsonOption = False) -> None:
    """Check a rule: language, state in bits, operations of each hook.

    State and operations are those of an example; `archgym rule evaluate` gives those of a trace.
    """
    from archgym.rules.language import bounds_of, read_rule

    source = read_rule(file)
    example = dict(source.domain.example)
    operations = bounds_of(source, example)
    data: dict[str, Any] = {
        "policy": str(file),
        "domain": source.domain.name,
        "digest": source.digest,
        "example": example,
        "state_bits": source.state_bits(example),
        "operations": operations,
        "arrays": {a.name: {"size": a.size, "bits": a.bits} for a in source.arrays},
        "tunable": {
            t.name: {"default": t.default, "low": t.low, "high": t.high} for t in source.tunables
        },
    }
    if json:
        write_json(data)
        return
    heading(f"Rule {file}, domain {source.domain.name}")
    table(
        ("array", "entries", "bits each"),
        [(a.name, str(a.size), str(a.bits)) for a in source.arrays],
        right=("bits each",),
    )
    table(
        ("function", "operations"),
        [(name, str(count)) for name, count in operations.items()],
        right=("operations",),
    )
    sizes = ", ".join(f"{name} = {value}" for name, value in example.items())
    say(f"State: {data['state_bits']:,} bits for {sizes}")


@rule_app.command()
def evaluate(
    file: FileArgument,
    trace: TraceOption,
    option: ChoiceOption = None,
    values: SetOption = None,
    seconds: SecondsOption = 60.0,
    json: JsonOption = False,
) -> None:
    """Measure a rule on traces: misses by cause, bytes moved, predicted time, state.

    The exit code is 3 if the rule is infeasible: it faults, or exceeds its limits.
    """
    found = _compared([file], trace, [], option, values, seconds, with_built_in=False)
    results = [each.to_json() for each in found.entries[0].train]
    if json:
        write_json({"policy": str(file), "results": results})
    else:
        for result in results:
            _write_result(result)
    if found.entries[0].problem:
        raise typer.Exit(_INFEASIBLE_CODE)


def _write_result(result: dict[str, Any]) -> None:
    heading(f"Trace {result['trace']}")
    if "problem" in result:
        notice(f"The rule is infeasible: {result['problem']}")
        return
    rows = []
    for name, value in result.items():
        if name in ("trace", "policy", "problem"):
            continue
        if isinstance(value, dict):
            value = ", ".join(f"{key} {each}" for key, each in value.items())
        rows.append((name, value if isinstance(value, str) else number(value)))
    table(("measure", "value"), rows, right=("value",))


@rule_app.command()
def compare(
    files: Annotated[list[Path], typer.Argument(help="Files of rules.", metavar="FILE...")],
    trace: TraceOption,
    held_out: Annotated[
        list[str] | None,
        typer.Option(
            "--held-out",
            help="Trace that the rules were not made on; repeat for more.",
            metavar="TRACE",
        ),
    ] = None,
    option: ChoiceOption = None,
    seconds: SecondsOption = 60.0,
    json: JsonOption = False,
) -> None:
    """Compare rules with each other, with built-in ones and with the optimum.

    The best rule comes first. For caches a loss of 1 is that of the optimum.
    """
    found = _compared(files, trace, held_out or [], option, None, seconds, with_built_in=True)
    if json:
        write_json(found.to_json())
        return
    heading(f"Rules of domain {found.domain}: {found.loss}")
    table(
        ("rule", "training", "held out", "note"),
        [
            (entry.name, number(entry.train_loss), number(entry.held_out_loss), entry.problem)
            for entry in found.entries
        ],
        right=("training", "held out"),
    )


def _compared(
    files: list[Path],
    train: list[str],
    held_out: list[str],
    option: list[str] | None,
    values: list[str] | None,
    seconds: float,
    *,
    with_built_in: bool,
) -> "Comparison":
    from archgym.cli.options.values import assignments
    from archgym.rules.case import compare_rules
    from archgym.rules.language import read_rule, tuned_values
    from archgym.rules.sandbox import RuleRunner

    sources = {str(file): read_rule(file) for file in files}
    given = assignments("--set", values or ())
    # Only a command with one rule takes values.
    tuned = tuned_values(next(iter(sources.values())), given) if given else None
    with RuleRunner(seconds) as runner:
        return compare_rules(
            sources,
            train,
            held_out,
            options=assignments("--option", option or ()),
            tuned=tuned,
            with_built_in=with_built_in,
            runner=runner,
        )
