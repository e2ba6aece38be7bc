"""Door for simulators whose parts are simulators, designed together."""

from archgym.composition.composition import Composition as Composition
from archgym.composition.composition import Part as Part
from archgym.composition.composition import PartInfeasible as PartInfeasible
