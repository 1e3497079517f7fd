"""The views of composite images that members have learned: the same measures, on real pixels."""

from __future__ import annotations

from viewrace.data.composite import Composites
from viewrace.measure.coverage import Views
from viewrace.train.members import Members

__all__ = ["composite_views"]


def composite_views(members: Members, composites: Composites, probes: int = 50) -> Views:
    """Show the members every view alone (`probes` pictures of each class), and fresh single-view images."""
    alone = composites.probes(probes)
    single = composites.test_single()
    said = members.logits(alone.flatten(0, 2)).unflatten(1, alone.shape[:3])
    return Views(said, members.logits(single.images), single.labels)
