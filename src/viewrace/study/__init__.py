"""Many runs: the results folder, resume, and the road from settings to verdicts."""

from viewrace.files import write_json
from viewrace.study.diagnosis import DIAGNOSIS, Diagnosis, diagnose
from viewrace.study.folder import Folder
from viewrace.study.phase import PHASE, phase, phase_folder
from viewrace.study.prediction import predict_winners, prediction_summary
from viewrace.study.runner import Study, Watcher, agreed_views, default_folder, reproduce
from viewrace.study.training import summary, train_networks

__all__ = [
    "DIAGNOSIS",
    "PHASE",
    "Diagnosis",
    "Folder",
    "Study",
    "Watcher",
    "agreed_views",
    "default_folder",
    "diagnose",
    "phase",
    "phase_folder",
    "predict_winners",
    "prediction_summary",
    "reproduce",
    "summary",
    "train_networks",
    "write_json",
]
