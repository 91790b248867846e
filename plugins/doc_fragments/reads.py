# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation of modules says that change nothing."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragment C(virtfleet.cloud.reads)."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    support: full
    description: Only reads.
  diff_mode:
    support: N/A
    description: Changes nothing.
"""
