"""Address translation: TLBs, page walks, and hardware that makes them cheaper."""

from archgym.simulators.translation.layout import Memory
from archgym.simulators.translation.machine import Hardware
from archgym.simulators.translation.simulator import TranslationSimulator

__all__ = ["Hardware", "Memory", "TranslationSimulator"]
