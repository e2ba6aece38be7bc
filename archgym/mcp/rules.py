"""Tools for rules (hardware policies as code): domains, checks, and evaluations on a budget."""

from typing import Annotated, Any

import msgspec

from archgym.errors import BudgetExhausted
from archgym.mcp.workspace import Input, StudyName, Text, Workspace
from archgym.rules.domain import Domain, domain_names
from archgym.rules.domain import domain as known_domain
from archgym.rules.language import MAX_SOURCE_BYTES, bounds_of, check_rule
from archgym.rules.log import RuleLog

# chosen: a rule takes about a second to compile, so that these take hours.
_MAX_BUDGET = 10_000
_MAX_TRACES = 16  # chosen: the routing presets, programs and DRAM workloads of one family
# chosen: attempts that are listed, best first.
_MAX_LISTED = 50

Source = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=MAX_SOURCE_BYTES, description="Text of the rule."),
]


class ListRuleDomains(Input, frozen=True, kw_only=True):
    """List the kinds of hardware policies that can be written as code."""


class DescribeRuleDomain(Input, frozen=True, kw_only=True):
    """Return a domain's functions, constants, array sizes, options, and a template's source."""

    domain: Text
    template: Annotated[Text | None, msgspec.Meta(description="Template to return.")] = None


class CheckRule(Input, frozen=True, kw_only=True):
    """Check a rule: language, state in bits, operations of each function. Nothing is charged."""

    source: Source


class CreateRuleStudy(Input, frozen=True, kw_only=True):
    """Create a study of rules of one domain on fixed traces, with a budget that stays."""

    study: StudyName
    domain: Text
    traces: Annotated[
        list[Text],
        msgspec.Meta(min_length=1, max_length=_MAX_TRACES, description="Workloads or files."),
    ]
    budget: Annotated[
        int, msgspec.Meta(ge=1, le=_MAX_BUDGET, description="Rules that may be evaluated.")
    ]
    options: Annotated[
        dict[str, str], msgspec.Meta(description="Options of the domain, such as capacity.")
    ] = msgspec.field(default_factory=dict)


class EvaluateRule(Input, frozen=True, kw_only=True):
    """Evaluate a rule on all traces of its study; costs one evaluation, also if it faults.

    Text that is not in the language is refused, and costs nothing. A smaller loss is better; an
    infeasible rule has none.
    """

    study: StudyName
    source: Source
    constants: Annotated[
        dict[str, int], msgspec.Meta(description="Values of tunable constants.")
    ] = msgspec.field(default_factory=dict)


class RuleResults(Input, frozen=True, kw_only=True):
    """Return the rules of a study, best first, and the source of the best."""

    study: StudyName


class VerifyRules(Input, frozen=True, kw_only=True):
    """Evaluate every rule of a study again; report those that differ or exceed the budget.

    Nothing is charged.
    """

    study: StudyName


def _list_domains(workspace: Workspace, given: ListRuleDomains) -> dict[str, Any]:
    found = [known_domain(name) for name in domain_names()]
    return {"domains": [{"domain": each.name, "doc": each.doc} for each in found]}


def _describe_domain(workspace: Workspace, given: DescribeRuleDomain) -> dict[str, Any]:
    from archgym.errors import unknown_name

    chosen = known_domain(given.domain)
    if given.template is not None and given.template not in chosen.templates:
        raise unknown_name("template", given.template, chosen.templates)
    return {
        "domain": chosen.name,
        "doc": chosen.doc,
        "loss": chosen.loss,
        "functions": _functions(chosen),
        "arrays": {f"per_{name}": text for name, text in chosen.sizes.items()},
        "constants": dict(chosen.values),
        "options": dict(chosen.options),
        "built_in": list(chosen.built_in),
        "templates": list(chosen.templates),
        "source": None if given.template is None else chosen.templates[given.template],
    }


def _functions(chosen: Domain) -> list[dict[str, Any]]:
    return [
        {
            "function": f"{name}({', '.join(hook.parameters)})",
            "doc": hook.doc,
            "required": hook.is_required,
            "returns_number": hook.has_result,
        }
        for name, hook in chosen.hooks.items()
    ]


def _check(workspace: Workspace, given: CheckRule) -> dict[str, Any]:
    source = check_rule(given.source)
    example = dict(source.domain.example)
    return {
        "domain": source.domain.name,
        "digest": source.digest,
        "example": example,
        "state_bits": source.state_bits(example),
        "operations": bounds_of(source, example),
        "tunable": {each.name: [each.low, each.high] for each in source.tunables},
    }


def _create(workspace: Workspace, given: CreateRuleStudy) -> dict[str, Any]:
    log = workspace.create_rules(
        given.study, given.domain, given.traces, given.options, given.budget
    )
    return {"study": given.study, **_status(log), "domain": given.domain, "traces": given.traces}


def _evaluate(workspace: Workspace, given: EvaluateRule) -> dict[str, Any]:
    log = workspace.rules(given.study)
    try:
        attempt = log.evaluate(given.source, given.constants)
    except BudgetExhausted:
        return {"study": given.study, **_status(log), "budget_exhausted": True}
    shown = {"attempt": attempt.seq + 1, "loss": attempt.loss, "results": list(attempt.results)}
    return {"study": given.study, **_status(log), **shown}


def _status(log: RuleLog) -> dict[str, Any]:
    return {"budget": log.header.budget, "evaluations": len(log.attempts), "left": log.left}


def _results(workspace: Workspace, given: RuleResults) -> dict[str, Any]:
    log = workspace.rules(given.study)
    best = log.best()
    ranked = sorted(log.attempts, key=lambda each: (each.loss is None, each.loss or 0.0))
    return {
        "study": given.study,
        **_status(log),
        "best": None if best is None else {"attempt": best.seq + 1, **best.to_json()},
        "attempts": [
            {"attempt": each.seq + 1, "loss": each.loss, "constants": dict(each.constants)}
            for each in ranked[:_MAX_LISTED]
        ],
    }


def _verify(workspace: Workspace, given: VerifyRules) -> dict[str, Any]:
    log = workspace.rules(given.study)
    differing = log.verify()
    return {"study": given.study, **_status(log), "differing": differing}


TOOLS = (
    (ListRuleDomains, _list_domains, True),
    (DescribeRuleDomain, _describe_domain, True),
    (CheckRule, _check, True),
    (CreateRuleStudy, _create, False),
    (EvaluateRule, _evaluate, False),
    (RuleResults, _results, True),
    (VerifyRules, _verify, True),
)
"""Input, function and True for tools that change nothing."""
