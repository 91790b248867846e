# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation of all modules of the registry says."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragment C(virtfleet.cloud.registry)."""

    DOCUMENTATION = r"""
requirements:
  - psycopg2 and redis, on the controller
attributes:
  check_mode:
    support: full
    description: Does all of it in a transaction that is rolled back.
  action:
    support: full
    description: Implemented as an action plugin.
notes:
  - Runs on the controller, in the process of Ansible, whatever the host of the task is.
  - The registry's place and credentials are the variables C(registry_host), C(registry_port), C(registry_name),
    C(registry_user), C(registry_password), C(registry_ca_file) and C(registry_redis_host), C(registry_redis_port),
    C(registry_redis_user), C(registry_redis_password), C(registry_redis_tls), which is true unless it is set.
"""
