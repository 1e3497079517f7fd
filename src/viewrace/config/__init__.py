"""Every setting: its range, its unit, its default. YAML in, YAML out, `key=value` on top.

Settings are nested and immutable. What cannot be is refused when the object is built, before any compute.
"""

from viewrace.config.data import Data
from viewrace.config.reading import load, parse_override
from viewrace.config.settings import Distill, Net, SelfDistill, Settings, Train, settings

__all__ = ["Data", "Distill", "Net", "SelfDistill", "Settings", "Train", "load", "parse_override", "settings"]
