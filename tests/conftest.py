"""What every test needs: a loaded machine, or a job in the background, makes no test red."""

import signal

from hypothesis import HealthCheck, settings

pytest_plugins = ["pytester"]

settings.register_profile(
    "all",
    max_examples=100,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("few", settings.get_profile("all"), max_examples=10)
settings.load_profile("all")

# A job in the background of a script ignores SIGINT; tests that send it ask what Ctrl-C does.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
