"""What settings must be for a race between the views of a patch network, and the refusal where they are not."""

from __future__ import annotations

from collections.abc import Iterable

from viewrace.config import Settings
from viewrace.errors import ViewraceError

__all__ = ["race_rules", "refuse_unless"]

Rules = list[tuple[bool, str]]


def race_rules(settings: Settings) -> Rules:
    """Whether each rule that all races share holds, and its words with the value received."""
    data, net, train = settings.data, settings.net, settings.train
    return [
        (data.source == "features", f"data.source must be features, received {data.source}"),
        (data.layout == "patches", f"data.layout must be patches, received {data.layout}"),
        (net.family == "patch", f"net.family must be patch, received {net.family}"),
        (net.q >= 2, f"net.q must be at least 2, received {net.q}"),
        (train.loss == "ce", f"train.loss must be ce, received {train.loss}"),
    ]


def refuse_unless(what: str, rules: Iterable[tuple[bool, str]]) -> None:
    """Raise ViewraceError with the first rule that does not hold."""
    for holds, rule in rules:
        if not holds:
            raise ViewraceError(f"{what}: {rule}: set it so, or train the full network")
