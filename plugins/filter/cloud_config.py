# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that puts what a user asks of the guest's first boot into one cloud-config."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.cloud_config import requested_cloud_config
from ..module_utils.errors import Invalid


def cloud_config(request: Mapping[str, Any]) -> str:
    """The cloud-config as JSON text, as virt_rbd_vm takes it; that of nothing is empty."""
    try:
        return json.dumps(requested_cloud_config(request) or {})
    except Invalid as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"cloud_config": cloud_config}
