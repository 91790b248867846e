# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of the property tests."""

from __future__ import annotations

import os

from hypothesis import settings

# No deadline, as machines are shared; in CI the same examples every time, so that a run can be repeated.
settings.register_profile("virtfleet", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("virtfleet")
