# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the checkout importable as ansible_collections.virtfleet.cloud."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "playbooks" / "collections"))
