"""The policy's answers for others to ask for: from OPA, or from the engine in this process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final, Protocol

import aiohttp

from eventrunner.access.policy import Policy, Verdict

__all__ = ["Decisions", "EmbeddedPolicy", "OpaPolicy"]

_log = logging.getLogger(__name__)
_PATIENCE: Final = 0.25
"""Seconds until a question without an answer counts as denied: Oathkeeper waits for an authorizer however long."""


class Decisions(Protocol):
    async def decide(self, question: Mapping[str, Any]) -> Verdict:
        """Never raises: whatever goes wrong, the answer is no."""
        ...

    async def close(self) -> None: ...


class EmbeddedPolicy:
    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    async def decide(self, question: Mapping[str, Any]) -> Verdict:
        try:
            return Verdict.of(self._policy.evaluate(question))
        except Exception:
            _log.exception("the policy failed; denied")
            return Verdict.FAILED

    async def close(self) -> None:
        pass


class OpaPolicy:
    """`url`: of the rule, such as `http://opa:8181/v1/data/eventrunner/authz/allow`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: aiohttp.ClientSession | None = None

    async def decide(self, question: Mapping[str, Any]) -> Verdict:
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._ask(question)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            _log.warning("OPA does not answer; denied: %r", error)
            return Verdict.FAILED

    async def _ask(self, question: Mapping[str, Any]) -> Verdict:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        async with self._session.post(self._url, json={"input": question}, allow_redirects=False) as response:
            if response.status != 200:
                _log.warning("OPA answers %d; denied", response.status)
                return Verdict.FAILED
            answer = await response.json(content_type=None)
            # OPA answers 200 to everything, without a result where the rule does not exist.
            return Verdict.of(isinstance(answer, dict) and answer.get("result") is True)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
