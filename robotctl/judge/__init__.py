"""The judge: what really happened, from ground truth, by own formulas."""

from robotctl.judge.judge import Judge
from robotctl.judge.verdict import JudgeVerdict

__all__ = ["Judge", "JudgeVerdict"]
