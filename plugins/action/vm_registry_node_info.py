# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin vm_registry_node_info."""

from __future__ import annotations

from typing import ClassVar

from ..plugin_utils.registry_action import ListAction


class ActionModule(ListAction):
    """Lists nodes."""

    KIND: ClassVar[str] = "nodes"
