"""Multi-objective search for the largest hypervolume with SMS-EMOA, by pymoo."""

from typing import Any, final

from archgym.agents._pymoo import PymooAgent


@final
class SmsEmoaAgent(PymooAgent):
    """SMS-EMOA: evolution that drops the design with the least hypervolume.

    Parents win tournaments by dominance. Survivors are the designs that are dominated by the
    fewest ranks of others; of the last rank that fits, the one that adds least to the volume goes,
    again and again. Made for two to four terms: with more, that volume takes long. The terms of the
    objective are maximised alike, whatever their weights; with one term it is a genetic algorithm.
    `PymooAgent` says how designs are bred.

    Source:
      Beume, Naujoks & Emmerich, *SMS-EMOA: Multiobjective Selection Based on Dominated
      Hypervolume*, European Journal of Operational Research 181, 2007.
    """

    name = "sms_emoa"

    def _make(self, **arguments: Any) -> Any:
        from pymoo.algorithms.moo.sms import SMSEMOA, LeastHypervolumeContributionSurvival

        return SMSEMOA(survival=LeastHypervolumeContributionSurvival(), **arguments)
