# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the registry's transactions know of seeds: what was asked for with, and which instance of cloud-init's it is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import Conflict, Invalid
from .spec import DEFAULTS, VmSpec


def as_kept(spec: VmSpec) -> dict[str, Any]:
    """What the user asked of the seed; of user-data only the digest, as it may hold secrets."""
    return {
        "user_data_sha256": spec.user_data_sha256,
        "ssh_authorized_keys": list(spec.ssh_authorized_keys),
        "guest_user": spec.guest_user,
    }


def other_fields(row: Mapping[str, Any], spec: VmSpec) -> list[str]:
    """Which variables of the seed differ from what the VM was asked for with."""
    wanted, before = as_kept(spec), _asked_before(row)
    fields = {
        "user_data": "user_data_sha256", "ssh_authorized_keys": "ssh_authorized_keys", "guest_user": "guest_user",
    }  # fmt: skip
    return [name for name, key in fields.items() if before.get(key) != wanted[key]]


def refuse_other(row: Mapping[str, Any], spec: VmSpec) -> None:
    """A half-made VM is finished with what it was asked for with: the registry does not hold user-data to go on by."""
    problems = [f"{name} was given then, and is not now" for name in other_fields(row, spec)]
    if problems:
        raise Conflict(
            f"VM {spec.name} is half-made and was asked for with another seed",
            "Give the same again, or delete it (delete_vm.yml) and begin anew.",
            problems,
        )


def write(cursor: Any, row: Mapping[str, Any], spec: VmSpec, default_keys: Sequence[str]) -> None:
    """Give a VM the seed that was asked for; one that differs makes a new instance of it.

    The generation counts these: an instance that a guest has been before would not be set up again.

    Raises:
        Invalid: its user-data was not given again, and the registry holds only the digest of it.
    """
    before = _asked_before(row)
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


def _asked_before(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"guest_user": DEFAULTS["guest_user"], **row["spec"]}
