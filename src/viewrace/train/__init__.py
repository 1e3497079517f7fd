"""How networks learn: losses, the gradient flow and descent, stopping, ensembles and distillation."""

from viewrace.train.film import Film
from viewrace.train.losses import HardLoss, Loss, SoftLoss, averaged
from viewrace.train.machine import device_of, require_training
from viewrace.train.outcome import Outcome
from viewrace.train.penalties import Penalty, ProbePenalty
from viewrace.train.run import Trained, evaluate_logits, train
from viewrace.train.trace import Trace

__all__ = [
    "Film",
    "HardLoss",
    "Loss",
    "Outcome",
    "Penalty",
    "ProbePenalty",
    "SoftLoss",
    "Trace",
    "Trained",
    "averaged",
    "device_of",
    "evaluate_logits",
    "require_training",
    "train",
]
