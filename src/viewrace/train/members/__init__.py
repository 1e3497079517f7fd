"""Members: networks of any architecture that differ in their seed, trained side by side on images."""

from viewrace.train.members.config import MemberConfig
from viewrace.train.members.members import Members, Trace
from viewrace.train.members.trainer import train_members

__all__ = ["MemberConfig", "Members", "Trace", "train_members"]
