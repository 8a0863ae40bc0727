"""What holds for all examples that hypothesis draws: that a machine is busy makes none of them a failure."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "celeriac", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("celeriac")
