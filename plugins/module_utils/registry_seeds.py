# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another seed for a VM in the registry: what it is asked for with, and which instance of cloud-init's it makes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import Invalid
from .spec import VmSpec


def write(cursor: Any, row: Mapping[str, Any], spec: VmSpec, default_keys: Sequence[str]) -> None:
    """Give a VM the seed that was asked for; one that differs makes a new instance of it.

    The generation counts these: an instance that a guest has been before would not be set up again.

    Raises:
        Invalid: its user-data was not given again, and the registry holds only the digest of it.
    """
    before = row["spec"]
    seed = _wanted(before, spec, default_keys)
    if any(before.get(key) != value for key, value in seed.items()):
        seed["seed_generation"] = before.get("seed_generation", 0) + 1
        cursor.execute(
            "UPDATE vm SET spec = spec || %s, updated_at = now() WHERE id = %s", (json.dumps(seed), row["id"])
        )


def _wanted(before: Mapping[str, Any], spec: VmSpec, default_keys: Sequence[str]) -> dict[str, Any]:
    if before.get("user_data_sha256") and spec.user_data is None:
        raise Invalid(
            [
                "its user_data, packages, timezone, files or commands are not kept here and were not given again"
                " (user_data={} is none)"
            ]
        )
    keys = list(spec.ssh_authorized_keys) if "ssh_authorized_keys" in spec.given else before.get("ssh_authorized_keys")
    user = before.get("guest_user") if "guest_user" not in spec.given else None
    return {
        "user_data_sha256": spec.user_data_sha256,
        "ssh_authorized_keys": keys or list(default_keys),
        "guest_user": user or spec.guest_user,
    }
