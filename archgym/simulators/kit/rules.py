"""Door for policies that users write as code."""

from archgym.rules.case import RuleCase as RuleCase
from archgym.rules.domain import Domain as Domain
from archgym.rules.domain import Hook as Hook
from archgym.rules.domain import deferred as deferred
from archgym.rules.domain import templates as templates
from archgym.rules.language import RuleSource as RuleSource
