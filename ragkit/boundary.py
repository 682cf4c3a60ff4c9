"""The boundary around quoted data in prompts: constant for a deployment, not to be guessed.

It is an HMAC (RFC 2104, SHA-256) of the template's id under a key, so that equal questions give
equal prompts, which can be cached and compared, and no document can hold it. The key is the content
of the variable `RAGKIT_BOUNDARY_KEY`, or a file of the user's own folder, which is made when it is
first needed and readable by the user alone. Without either, the key lasts as long as the process.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets

KEY_VARIABLE = "RAGKIT_BOUNDARY_KEY"
KEY_FILE = "boundary.key"
LEAST_KEY_BYTES = 16

_process_key: list[bytes] = []


def boundary(template_id: str) -> str:
    """Return the line that opens and closes quoted data.

    Raises:
        ConfigError: the key is too short, or others can read or write its file.
    """
    digest = hmac.new(_key(), template_id.encode(), hashlib.sha256).digest()
    return f"#{base64.b32encode(digest[:5]).decode()}"


def without(line: str, text: str) -> str:
    """Return text from outside in which the boundary, in whatever case, is no boundary."""
    if line.lower() not in text.lower():
        return text
    return re.sub(re.escape(line), "#", text, flags=re.IGNORECASE)


def _key() -> bytes:
    from ragkit.errors import ConfigError

    given = os.environ.get(KEY_VARIABLE, "").encode("utf-8", "surrogateescape")
    if given:
        if len(given) < LEAST_KEY_BYTES:
            raise ConfigError(
                f"{KEY_VARIABLE} has {len(given)} bytes; allowed: at least {LEAST_KEY_BYTES}, "
                "for example the output of: openssl rand -hex 32"
            )
        return given
    kept = _kept_key()
    if kept is not None:
        return kept
    if not _process_key:
        _process_key.append(secrets.token_bytes(32))
    return _process_key[0]


def _kept_key() -> bytes | None:
    """Return the key of the user's folder, made if there is none; None if that cannot be."""
    from ragkit import private
    from ragkit.errors import ConfigError
    from ragkit.trust import user_folder

    folder = user_folder()
    if folder is None:
        return None
    path = folder / KEY_FILE
    try:
        private.make_folder(folder)
        if not path.exists():
            # A link makes the file appear whole, or not at all if another process was first.
            temporary = folder / f".{KEY_FILE}.{os.getpid()}"
            private.replace_file(temporary, secrets.token_hex(32).encode())
            try:
                os.link(temporary, path)
            except FileExistsError:
                pass
            finally:
                temporary.unlink()
        key = path.read_bytes().strip()
    except OSError:
        return None
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise ConfigError(
            f"{path} can be read by others, so that its boundary can be forged; run: "
            f"chmod 600 {path}, or rm {path} to have another one made"
        )
    if len(key) < LEAST_KEY_BYTES:
        raise ConfigError(f"{path} holds no key of {LEAST_KEY_BYTES} bytes; run: rm {path}")
    return key
