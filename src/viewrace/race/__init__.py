"""Which view wins, and why: the dynamics of the race at several depths."""
