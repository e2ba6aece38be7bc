"""Prompts of the server: texts that a client offers its user."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from archgym.errors import InvalidArgumentError, unknown_name

# chosen: a goal is a sentence or two.
_MAX_LENGTH = 500


@final
@dataclass(frozen=True)
class Prompt:
    """A prompt with its arguments."""

    name: str
    description: str
    arguments: Mapping[str, str]
    """Description by name."""
    text: str


PROMPTS = (
    Prompt(
        "search_design",
        "Search a design that meets a goal within a budget.",
        {
            "simulator": "Name of a simulator.",
            "goal": "Goal in words, with limits.",
            "budget": "Number of evaluations.",
        },
        "Find a design with ArchGym. Simulator: {simulator}. Goal: {goal}. Budget: {budget} "
        "evaluations. Read archgym://guide, call describe_simulator, turn the goal into an "
        "objective and limits (subject_to), and create one study with this budget. Spend about a "
        "third of it on `propose` and `evaluate`, then reason about `explain` and evaluate your "
        "own designs. Finish with `verify` and `best`; state the metrics with units, the limits "
        "met, and the number of evaluations used.",
    ),
    Prompt(
        "explain_design",
        "Explain the best design of a study.",
        {"study": "Name of a study."},
        "Call `best` and `explain` for study {study}. State what bounds the design, the single "
        "change that helps most, and what is at risk. Cite numbers with units from the results.",
    ),
    Prompt(
        "compare_agents",
        "Compare search agents on one task at equal budget.",
        {
            "simulator": "Name of a simulator.",
            "agents": "Names of agents, separated by commas.",
            "budget": "Evaluations of each.",
        },
        "Create one study for each of these agents on simulator {simulator}: {agents}, each with "
        "budget {budget} and the same task. Run `search` in each with seed 0, then `compare`. "
        "Say that one seed does not rank agents.",
    ),
)
"""Prompts, in the order of a search."""


def prompt_text(name: str, arguments: Mapping[str, str]) -> str:
    """Return the text of a prompt with its arguments filled in.

    Raises:
      UnknownNameError: No prompt or argument has this name.
      InvalidArgumentError: An argument is missing or too long.
    """
    for prompt in PROMPTS:
        if prompt.name == name:
            break
    else:
        raise unknown_name("prompt", name[:80], [prompt.name for prompt in PROMPTS])
    for argument in arguments:
        if argument not in prompt.arguments:
            raise unknown_name("argument", argument[:80], prompt.arguments)
    text = prompt.text
    for argument in prompt.arguments:
        value = " ".join(str(arguments.get(argument, "")).split())
        if not value or len(value) > _MAX_LENGTH:
            raise InvalidArgumentError(
                f"`{argument}` must have 1 to {_MAX_LENGTH} characters; got {len(value)}."
            )
        text = text.replace("{" + argument + "}", value.replace("{", "(").replace("}", ")"))
    return text
