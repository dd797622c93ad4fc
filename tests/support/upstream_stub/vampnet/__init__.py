"""Stand-in; its top level wants beat tracking, which is not installed."""

import wavebeat  # noqa: F401
