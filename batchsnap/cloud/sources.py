"""The places one credential is read from: environment, tccli's profiles, SDK file, CVM role.

Each reader gives a Credential, None where its place is empty, or a CredentialsError where the
place holds something that can't be used: to go on to the next place would be to act as somebody
else. Formats: the command line tool tccli, the published SDKs, the metadata page of CVM.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import orjson

from batchsnap.cloud.endpoints import is_region
from batchsnap.cloud.roles import DURATION_S, SESSION_NAME, Role
from batchsnap.cloud.tc3 import Credential
from batchsnap.errors import CredentialsError

METADATA_URL = "http://metadata.tencentyun.com"
METADATA_WITHIN_S = 2.0
EXPIRED_BELOW_S = 30.0  # a login with less than this left can't be counted on for one more call
_ROLES = "/latest/meta-data/cam/security-credentials/"
_ROLE_NAME = re.compile(r"[\w+=,.@-]{1,128}")
_PROFILE_NAME = re.compile(r"[\w+=,@-][\w+=,.@ -]*")
_ROLE_ENV = ("TENCENTCLOUD_", "TENCENTCLOUD_ASSUME_")  # tccli's names, the other tools' names
_NO_KEY = re.compile(r"[\s#;\"']")  # what is in no key: left of a comment, a line, a quote
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))

Fetch = Callable[[str, float], Awaitable[tuple[int, bytes] | None]]
"""(url, timeout in seconds) -> (status, body), None where there was no answer."""


def from_environment(env: Mapping[str, str]) -> Credential | None:
    """TENCENTCLOUD_SECRET_ID and _SECRET_KEY, with TENCENTCLOUD_TOKEN or _SECURITY_TOKEN."""
    secret_id = env.get("TENCENTCLOUD_SECRET_ID", "")
    secret_key = env.get("TENCENTCLOUD_SECRET_KEY", "")
    if not secret_id and not secret_key:
        return None
    if not secret_id or not secret_key:
        raise CredentialsError(
            "only one of TENCENTCLOUD_SECRET_ID and TENCENTCLOUD_SECRET_KEY is set: set both"
        )
    token = env.get("TENCENTCLOUD_TOKEN") or env.get("TENCENTCLOUD_SECURITY_TOKEN") or ""
    return checked(secret_id, secret_key, token, "env")


def role_of_environment(env: Mapping[str, str]) -> Role | None:
    """The role that TENCENTCLOUD_ROLE_ARN or TENCENTCLOUD_ASSUME_ROLE_ARN asks for.

    Raises:
        CredentialsError: its session can't be had as the environment wants it.
    """
    for prefix in _ROLE_ENV:
        place = f"{prefix}ROLE_ARN"
        if not env.get(place):
            continue
        duration = env.get(f"{prefix}ROLE_SESSION_DURATION") or str(DURATION_S)
        if not duration.isascii() or not duration.isdigit():
            raise CredentialsError(f"{prefix}ROLE_SESSION_DURATION must be a number of seconds")
        return _checked(
            Role(
                env[place].strip(),
                place,
                env.get(f"{prefix}ROLE_SESSION_NAME") or SESSION_NAME,
                int(duration[:9]),
                env.get(f"{prefix}ROLE_EXTERNAL_ID", ""),
            )
        )
    return None


def role_of_profile(values: Mapping[str, Any], path: Path) -> Role | None:
    """The role that a profile of tccli asks for: role-arn, and perhaps role-session-name.

    Raises:
        CredentialsError: they are no texts, or no session's name.
    """
    arn = values.get("role-arn") or ""
    name = values.get("role-session-name") or SESSION_NAME
    if not isinstance(arn, str) or not isinstance(name, str):
        raise CredentialsError(f"{path}: role-arn and role-session-name must be texts")
    return _checked(Role(arn.strip(), str(path), name)) if arn else None


def default_region(env: Mapping[str, str], home: Path, profile: str) -> tuple[str, str]:
    """(region, the place that names it): TENCENTCLOUD_REGION, else the one that tccli's profile
    is configured with; ("", "") where there is none."""
    if region := env.get("TENCENTCLOUD_REGION", "").strip():
        return region, "TENCENTCLOUD_REGION"
    try:
        name = profile or env.get("TCCLI_PROFILE") or "default"
        path = profile_path(home, name, "configure")
        values: Any = orjson.loads(_text_of(path))
        region = values["_sys_param"]["region"]
    except (CredentialsError, OSError, ValueError, LookupError, TypeError):
        return "", ""  # it holds no secret and decides nothing that a row can't say
    return (region, str(path)) if isinstance(region, str) and is_region(region) else ("", "")


def profile_path(home: Path, profile: str, ending: str = "credential") -> Path:
    """tccli's file of a profile.

    Raises:
        CredentialsError: the name could leave the folder.
    """
    if not _PROFILE_NAME.fullmatch(profile):
        raise CredentialsError(f"{profile!r} is no name of a profile")
    return home / ".tccli" / f"{profile}.{ending}"


def read_profile(home: Path, profile: str) -> dict[str, Any]:
    """tccli's file: JSON with secretId, secretKey and perhaps token, type, expiresAt, role-arn."""
    path = profile_path(home, profile)
    try:
        values: Any = orjson.loads(_text_of(path))
    except OSError as error:
        raise CredentialsError(
            f"can't read {path}: {error.strerror}. `tccli configure --profile {profile}` makes it"
        ) from None
    except ValueError:
        # Unchained: the decoder's error carries the whole text, keys included.
        raise CredentialsError(f"{path} is not JSON: make it anew with tccli") from None
    if not isinstance(values, dict):
        raise CredentialsError(f"{path} holds no JSON object: make it anew with tccli")
    return values


def from_profile(values: Mapping[str, Any], path: Path, profile: str, now: float) -> Credential:
    """The keys of a profile that holds its own; `now` in Unix seconds."""
    kind = values.get("type") or "default"
    if kind not in {"default", "oauth", "sso"}:
        raise CredentialsError(f"{path} has a type that batchsnap does not know: make it anew")
    expires_at = _seconds(values.get("expiresAt")) if kind in {"oauth", "sso"} else None
    if expires_at is not None and expires_at - now <= EXPIRED_BELOW_S:
        login = "tccli auth login" if kind == "oauth" else "tccli sso login"
        raise CredentialsError(
            f"the login in {path} has expired: run any tccli command with --profile {profile} to "
            f"refresh it, or `{login} --profile {profile}`"
        )
    secret_id, secret_key = values.get("secretId"), values.get("secretKey")
    if not (isinstance(secret_id, str) and isinstance(secret_key, str) and secret_id):
        raise CredentialsError(f"{path} lacks secretId or secretKey: make it anew with tccli")
    token = values.get("token")
    token = token if isinstance(token, str) else ""
    return checked(secret_id, secret_key, token, f"profile:{profile}", expires_at)


def from_shared(path: Path) -> Credential | None:
    """The SDKs' INI file, section [default]; quotes are no part of a value."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(_text_of(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, configparser.Error):
        # Unchained: the parser's error quotes the line, and with it a key.
        raise CredentialsError(f"can't read {path}, or it is no INI file") from None
    if not parser.has_section("default"):
        raise CredentialsError(f"{path} has no section [default]")
    values = {key: _unquoted(value) for key, value in parser.items("default")}
    if not values.get("secret_id") or not values.get("secret_key"):
        raise CredentialsError(f"{path} lacks secret_id or secret_key in [default]")
    return checked(values["secret_id"], values["secret_key"], "", f"file:{path}")


async def from_role(fetch: Fetch, metadata_url: str) -> Credential | None:
    """The CVM role's temporary keys from the metadata service; None on other machines."""
    base = f"{metadata_url.rstrip('/')}{_ROLES}"
    listed, answer = None, None
    with anyio.move_on_after(METADATA_WITHIN_S):
        listed = await fetch(base, METADATA_WITHIN_S)
    if listed is None or listed[0] != 200:
        return None
    role = listed[1].decode(errors="replace").strip().partition("\n")[0].strip()
    if not _ROLE_NAME.fullmatch(role):
        return None
    with anyio.move_on_after(METADATA_WITHIN_S):
        answer = await fetch(base + role, METADATA_WITHIN_S)
    try:
        values = orjson.loads(answer[1]) if answer is not None and answer[0] == 200 else {}
        if values["Code"] != "Success":
            raise KeyError("Code")
        return checked(
            values["TmpSecretId"],
            values["TmpSecretKey"],
            values["Token"],
            f"cvm-role:{role}",
            float(values["ExpiredTime"]),
        )
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError):
        raise CredentialsError(
            f"the metadata service gave no keys for role {role}: check the role of this machine"
        ) from None


def _text_of(path: Path) -> str:
    """A file's text: UTF-8 with or without a mark, or UTF-16 as PowerShell and Notepad write it.

    Raises:
        OSError, ValueError
    """
    data = path.read_bytes()
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return data.decode(encoding)
    if data[1:2] == b"\0":
        return data.decode("utf-16-le")
    return data.decode("utf-16-be" if data[:1] == b"\0" else "utf8")


def _checked(role: Role) -> Role:
    role.check()
    return role


def _unquoted(text: str) -> str:
    """Quotes around a value are the shell's or the file's, and no part of a key."""
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1].strip()
    return text


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def checked(
    secret_id: str, secret_key: str, token: str, source: str, expires_at: float | None = None
) -> Credential:
    """A credential of texts. Keys as pasted often carry quotes, a space or newline around them;
    what else is no part of a key is refused here, where that can be said: the cloud would call the
    signature wrong."""
    secret_id, secret_key, token = _unquoted(secret_id), _unquoted(secret_key), _unquoted(token)
    if any(_NO_KEY.search(text) for text in (secret_id, secret_key, token)):
        raise CredentialsError(
            f"the keys from {source} hold a space, a quote or a comment, which are in no key: "
            "write each key alone, with nothing behind it"
        )
    if not all(text.isascii() and text.isprintable() for text in (secret_id, secret_key, token)):
        raise CredentialsError(f"the keys from {source} hold characters that no key has")
    if not secret_id or not secret_key:
        raise CredentialsError(f"the keys from {source} are empty")
    return Credential(secret_id, secret_key, token, source, expires_at)
