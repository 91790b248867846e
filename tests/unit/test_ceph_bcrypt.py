# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
"""What stands in for bcrypt in Ceph's manager makes the hashes of bcrypt."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).resolve().parents[2] / "roles" / "ceph" / "files" / "bcrypt.py"


@pytest.fixture(scope="module")
def bcrypt() -> ModuleType:
    spec = importlib.util.spec_from_file_location("virtfleet_bcrypt", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Of crypt_blowfish's own test vectors (wrapper.c).
@pytest.mark.parametrize(
    ("password", "hashed"),
    [
        (b"U*U", b"$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
        (b"U*U*", b"$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK"),
        (b"", b"$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy"),
    ],
)
def test_hashes_are_those_of_bcrypt(bcrypt: ModuleType, password: bytes, hashed: bytes) -> None:
    assert bcrypt.hashpw(password, hashed[:29]) == bcrypt.hashpw(password, hashed) == hashed
    assert bcrypt.checkpw(password, hashed) and not bcrypt.checkpw(password + b"x", hashed)


def test_every_salt_is_new_and_of_the_kind_that_bcrypt_makes(bcrypt: ModuleType) -> None:
    salts = {bcrypt.gensalt() for _number in range(10)}
    assert len(salts) == 10
    assert {(salt[:7], len(salt)) for salt in salts} == {(b"$2b$12$", 29)}


@pytest.mark.parametrize(
    ("password", "salt"), [(b"x", b"$6$salt"), (b"x", b"nothing"), (b"a\x00b", b"$2b$05$" + b"C" * 22)]
)
def test_what_bcrypt_refuses_is_refused(bcrypt: ModuleType, password: bytes, salt: bytes) -> None:
    with pytest.raises(ValueError):
        bcrypt.hashpw(password, salt)
