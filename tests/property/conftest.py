"""One profile for all properties: the same examples in every run, and no clock."""

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "optdsl",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
    ],
    phases=[phase for phase in Phase if phase is not Phase.explain],  # it takes minutes
    print_blob=False,
)
settings.load_profile("optdsl")
