"""A rightly signed call, made with the published SDK's own signer and nothing of ours."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from hashlib import sha256

from tencentcloud.common.sign import Sign

from batchsnap.simulator.auth import DEFAULT_KEYS

HERE = "ap-guangzhou"
DISK = "disk-0000000a"
[(SECRET_ID, SECRET_KEY)] = DEFAULT_KEYS.items()


def signed(
    host: str,
    action: str = "CreateSnapshot",
    body: bytes = b'{"DiskId":"%s"}' % DISK.encode(),
    *,
    at: float | None = None,
    key: tuple[str, str] = (SECRET_ID, SECRET_KEY),
    token: str = "",
    **headers: str,
) -> dict[str, str]:
    """Headers of a call, signed with the published SDK's own function."""
    at = time.time() if at is None else at
    date = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")
    canonical = (
        f"POST\n/\n\ncontent-type:application/json\nhost:{host}\n\n"
        f"content-type;host\n{sha256(body).hexdigest()}"
    )
    digest = sha256(canonical.encode()).hexdigest()
    text = f"TC3-HMAC-SHA256\n{int(at)}\n{date}/cbs/tc3_request\n{digest}"
    signature = Sign.sign_tc3(key[1], date, "cbs", text)
    return {
        "Host": host,
        "Content-Type": "application/json",
        "X-TC-Action": action,
        "X-TC-Version": "2017-03-12",
        "X-TC-Region": HERE,
        "X-TC-Timestamp": str(int(at)),
        "Authorization": f"TC3-HMAC-SHA256 Credential={key[0]}/{date}/cbs/tc3_request, "
        f"SignedHeaders=content-type;host, Signature={signature}",
        **({"X-TC-Token": token} if token else {}),
        **headers,
    }
