# Copyright: Contributors to virtfleet.cloud
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Ansible managed
"""What ceph-mgr needs of the package bcrypt, by the system's libcrypt: its interpreters cannot load the real one.

See crypt(3) and crypt_gensalt(3). Hashes are those of bcrypt, and each takes what the other has made.
"""

from __future__ import annotations

import ctypes
import hmac

_LIBRARY = ctypes.CDLL("libcrypt.so.1", use_errno=True)
# sizeof(struct crypt_data), and CRYPT_GENSALT_OUTPUT_SIZE
_DATA_SIZE = 32768
_SALT_SIZE = 192
_LIBRARY.crypt_rn.restype = ctypes.c_char_p
_LIBRARY.crypt_rn.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int]
_LIBRARY.crypt_gensalt_rn.restype = ctypes.c_char_p
_LIBRARY.crypt_gensalt_rn.argtypes = [
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_char_p,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_int,
]


def gensalt(rounds: int = 12, prefix: bytes = b"2b") -> bytes:
    """A new salt, with random bytes of the kernel."""
    salt = ctypes.create_string_buffer(_SALT_SIZE)
    made: bytes | None = _LIBRARY.crypt_gensalt_rn(b"$" + prefix + b"$", rounds, None, 0, salt, _SALT_SIZE)
    if made is None:
        raise ValueError("Invalid rounds or prefix")
    return made


def hashpw(password: bytes, salt: bytes) -> bytes:
    """The hash of a password; a hash is a salt as well."""
    if b"\x00" in password:
        raise ValueError("password may not contain NUL bytes")
    hashed: bytes | None = _LIBRARY.crypt_rn(password, salt, ctypes.create_string_buffer(_DATA_SIZE), _DATA_SIZE)
    if hashed is None or not hashed.startswith(b"$2"):
        raise ValueError("Invalid salt")
    return hashed


def checkpw(password: bytes, hashed_password: bytes) -> bool:
    """Whether the hash is that of the password."""
    return hmac.compare_digest(hashpw(password, hashed_password), hashed_password)
