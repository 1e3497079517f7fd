"""The race by itself: the dynamics of correlations, without weights and without inputs."""
