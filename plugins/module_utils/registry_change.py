# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a transaction of the registry changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Change:
    """What a row (or each of several, by name) was and is, as the diff shows it; nothing where there was none."""

    before: dict[str, Any]
    after: dict[str, Any]

    @property
    def changed(self) -> bool:
        return self.before != self.after

    def difference(self) -> dict[str, list[Any]]:
        """From what to what each field changed."""
        fields = (*self.before, *(field for field in self.after if field not in self.before))
        values = {field: [self.before.get(field), self.after.get(field)] for field in fields}
        return {field: value for field, value in values.items() if value[0] != value[1]}
