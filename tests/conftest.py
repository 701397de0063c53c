"""For all tests: what hypothesis may take."""

from hypothesis import HealthCheck, settings

# A machine that is busy with other things must not fail a property.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
