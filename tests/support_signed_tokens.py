"""A gateway is held to the table of signed tokens, `eventrunner/doctor/gateway_tokens.yaml`, with all else that
`eventrunner doctor gateway` sends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from eventrunner.access.identity import Signer, make_keys

__all__ = ["ISSUER", "ISSUER_PUBLIC_KEYS", "check_gateway"]

ISSUER = "https://login.eventrunner.dev/"
_KEYS = make_keys("login")
ISSUER_PUBLIC_KEYS = Signer(_KEYS).public_keys
"""Of the identity provider."""


def check_gateway(url: str, admin_key: str, folder: Path) -> dict[str, Any]:
    """The report of a gateway that trusts the provider, once it was found to be without a wrong answer."""
    file = folder / "login.jwks"
    file.write_text(_KEYS)
    options = ["--json", "--signing-key", str(file), "--issuer", ISSUER]
    command = [sys.executable, "-m", "eventrunner", "doctor", "gateway", *options]
    environ = {**os.environ, "EVENTRUNNER_URL": url, "EVENTRUNNER_KEY": admin_key}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=400, check=False)
    assert done.stdout, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert (report["wrong"], done.returncode) == ([], 0), report["wrong"]
    assert report["signed"] >= 40, report
    return report
