"""An OpenAI-compatible endpoint that is asked for a verdict: tried again, kept, and never guessed for.

429, 5xx, time-outs, cut connections and answers that are no verdict are tried again after a growing wait with jitter
(or as long as Retry-After says); after the last attempt there is no verdict, only a reason. Verdicts are kept in the
user's cache, by endpoint, model and prompt, with what the endpoint calls the model that answered; failures are not.
The key is read from the environment and shown nowhere.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from typing import Any, Generic, TypeAlias, TypeVar
from urllib.parse import urlsplit, urlunsplit

from rain import cache
from rain.addresses import without_secrets
from rain.errors import MissingExtra, UsageError

T = TypeVar("T")
Messages: TypeAlias = list[dict[str, str]]

OPENAI = "https://api.openai.com/v1"
KEY_ENV = "OPENAI_API_KEY"
ATTEMPTS, TIMEOUT, PARALLEL = 6, 120.0, 4
LONGEST_WAIT = 120.0
"""Seconds. An endpoint that wants longer is not waited for."""
ANSWER_TOKENS, THINKING_TOKENS = 400, 4000
"""Of an answer; the second where the model thinks before it answers."""
FAILURES_IN_A_ROW = 5
"""Questions without any answer, after which the endpoint is taken for dead and not asked again."""
SHORTEST_KEY = 8
"""Characters. What is shorter ("none", "x") stands for a key where none is wanted; a verdict may hold it by chance."""
FORMATS = ("json_schema", "json_object", "none")
GREETING: Messages = [{"role": "user", "content": "Good morning!"}]
"""What nobody forbids: asked where an endpoint forbids a question before it has answered any."""
_FILTERED = re.compile(r"content.?(filter|policy|management)|moderation|safety (system|filter|setting)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Asked(Generic[T]):
    """What came of one question: a value, or None and why."""

    value: T | None
    why: str | None
    cost: dict[str, int | float]
    """``prompt_tokens``, ``completion_tokens``, ``seconds``: spent now, failed attempts too, nothing if kept before."""
    by: str | None = None
    """What the endpoint calls the model that answered, and its ``system_fingerprint``; None where it does not say."""
    kept: bool = False
    """Whether the answer was kept from before."""


class Unparseable(ValueError):
    """An answer that is no verdict."""


@dataclass(frozen=True, slots=True)
class _Way:
    """How this endpoint wants to be asked; it is found out from what it refuses."""

    format: str = FORMATS[0]
    limit: str = "max_tokens"
    temperature: bool = True


@dataclass
class Endpoint:
    """Asks one model behind one endpoint. Use it in one event loop, and :meth:`close` it there."""

    url: str
    model: str
    key_env: str | None = None
    """The variable that holds the key; None: OPENAI_API_KEY, which a server of one's own need not have."""
    attempts: int = ATTEMPTS
    timeout: float = TIMEOUT
    parallel: int = PARALLEL
    fresh: bool = False
    """Ask again, whatever is kept."""
    first_wait: float = 0.5
    """Seconds before the second attempt; doubled for each further one, up to 30."""
    _key: str = field(init=False, repr=False)
    _way: _Way = field(init=False, default_factory=_Way)
    _client: Any = field(init=False, default=None, repr=False)
    _room: asyncio.Semaphore | None = field(init=False, default=None, repr=False)
    _failed: int = field(init=False, default=0)
    _last: str = field(init=False, default="")
    _answered: bool = field(init=False, default=False)
    """Whether it has answered anything yet: its address, model and key are right then."""

    def __post_init__(self) -> None:
        """Raises UsageError (no key, no such address, numbers that cannot be), MissingExtra."""
        try:
            import openai  # noqa: F401
        except ImportError as error:
            raise MissingExtra("an AI judge needs pip install 'rain-lm[eval]'") from error
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"--judge-url {self.shown}: expected an address such as http://127.0.0.1:8000/v1")
        try:
            _ = parts.port
        except ValueError:  # It is not shown: what is read as a port may be a password.
            raise UsageError(
                "--judge-url: expected http://host:port/v1 with a number as the port; in a name or password write "
                "/ ? # @ as %2F %3F %23 %40"
            ) from None
        if self.attempts < 1 or self.parallel < 1 or self.timeout <= 0:
            raise UsageError("a judge's attempts, parallel questions and timeout must be above zero")
        key = os.environ.get(self.key_env or KEY_ENV, "").strip()
        if not key and self.key_env:
            raise UsageError(f"--judge-key-env {self.key_env}: that variable is not set; set it to the endpoint's key")
        if not key and self.url.rstrip("/") == OPENAI:
            raise UsageError(f"{OPENAI} needs a key: set {KEY_ENV}, or name another endpoint with --judge-url")
        self._key = key

    @property
    def shown(self) -> str:
        """The address without a name, password or query that may stand in it."""
        return urlunsplit(urlsplit(without_secrets(self.url))._replace(query="", fragment=""))

    async def ask(self, messages: Messages, schema: dict[str, Any], parse: Callable[[str], T]) -> Asked[T]:
        """Ask until ``parse`` makes a value of the answer's text; it raises :class:`Unparseable` otherwise.

        Raises UsageError where the endpoint knows no such key, model or address. A question that it forbids (403, or a
        content filter's 400) is unjudged: what is to be judged is often what a filter looks for.
        """
        kept = self._kept(messages, schema)
        before = None if self.fresh else _read(kept)
        if before is not None:
            try:
                return Asked(parse(before[0]), None, _cost(), before[1], kept=True)
            except Unparseable:
                pass  # Kept by another version of the parser.
        if self._room is None:
            self._room = asyncio.Semaphore(self.parallel)
        async with self._room:
            if self._failed >= FAILURES_IN_A_ROW:
                return Asked(None, f"not asked: {self._failed} questions in a row had failed ({self._last})", _cost())
            return await self._try(messages, schema, parse, kept)

    async def _try(self, messages: Messages, schema: dict[str, Any], parse: Callable[[str], T], kept: Any) -> Asked[T]:
        began, cost, why, answered = time.monotonic(), _cost(), "", False
        for attempt in range(1, self.attempts + 1):
            wait = min(30.0, self.first_wait * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0)
            try:
                text, by = await self._answer(messages, schema, cost)
                value = parse(text)
            except Unparseable as error:
                answered, why = True, f"no verdict in the answer: {error}"
            except _Failure as error:
                why = str(error)
                answered = answered or not error.again
                if not error.again:
                    break
                if error.after is not None:
                    if error.after > LONGEST_WAIT:
                        why += f"; it wants {error.after:.0f} s of waiting"
                        break
                    wait = error.after + random.uniform(0, self.first_wait)
            else:
                cost["seconds"] = round(time.monotonic() - began, 3)
                self._failed = 0
                _write(kept, text, by)
                return Asked(value, None, cost, by)
            if attempt < self.attempts:
                await asyncio.sleep(wait)
        cost["seconds"] = round(time.monotonic() - began, 3)
        self._failed, self._last = (0, "") if answered else (self._failed + 1, why)
        tries = f" ({attempt} attempts)" if attempt > 1 else ""
        return Asked(None, why + tries, cost)

    async def _answer(
        self, messages: Messages, schema: dict[str, Any], cost: dict[str, int | float]
    ) -> tuple[str, str | None]:
        """The text of one answer, asked for in the way that this endpoint takes, and who gave it.

        Raises _Failure, UsageError.
        """
        import openai

        way = self._way
        while True:
            try:
                # The client's own limit is between two pieces of an answer, this one is for all of it.
                async with asyncio.timeout(self.timeout):
                    answer = await self._open().chat.completions.create(**_request(self.model, messages, schema, way))
            except (TimeoutError, openai.APITimeoutError):
                raise _Failure(f"no answer within {self.timeout:g} s") from None
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                # In other words it would be forbidden too, or come through by luck and be taken for the way to ask.
                simpler = None if _FILTERED.search(f"{error.code} {error}") else _simpler(way, str(error))
                if simpler is None:
                    raise _Failure(f"refused: {self._said(error)}", again=False) from None
                way = simpler
                continue
            except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
                if error.status_code == 403 and not await self._shut(way, cost):
                    raise _Failure(f"forbidden: {self._said(error)}", again=False) from None
                raise UsageError(
                    f"the judge's endpoint {self.shown} says {error.status_code}: {self._said(error)}; check "
                    f"--judge-url, the model's name '{self.model}' and the key in {self.key_env or KEY_ENV}"
                ) from None
            except openai.APIStatusError as error:
                code = error.status_code
                # llama.cpp's own server says 500 to a form of answer that it does not know.
                if "response_format" in str(error) and (simpler := _simpler(way, "")):
                    way = simpler
                    continue
                after = _after(error.response.headers)
                raise _Failure(
                    f"{code}: {self._said(error)}", again=code in (408, 409, 429) or code >= 500, after=after
                ) from None
            except openai.APIConnectionError as error:
                raise _Failure(f"no connection, or it was cut: {self._said(error.__cause__ or error)}") from None
            except (openai.OpenAIError, ValueError) as error:
                raise _Failure(f"the answer is no such JSON as it should be: {self._said(error)}") from None
            self._way, self._answered = way, True
            text, by = _text(answer, cost, self._said), _by(answer)
            if len(self._key) < SHORTEST_KEY:
                return text, by
            return self._plain(text), by and self._plain(by)

    async def _shut(self, way: _Way, cost: dict[str, int | float]) -> bool:
        """Whether an endpoint that has answered nothing yet forbids even a greeting; what that costs is added."""
        import openai

        if self._answered:
            return False
        try:
            async with asyncio.timeout(self.timeout):
                greeted = await self._open().chat.completions.create(
                    **_request(self.model, GREETING, {}, replace(way, format="none"))
                )
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError):
            return not self._answered  # another question may have been answered meanwhile
        except (openai.OpenAIError, TimeoutError, ValueError):
            return False  # Not known: the next question that is forbidden greets again.
        self._answered = True
        with suppress(_Failure, Unparseable):
            _text(greeted, cost, self._said)
        return False

    def _open(self) -> Any:
        if self._client is None:
            import openai

            # A server on this machine is not behind a proxy.
            here = urlsplit(self.url).hostname in ("localhost", "127.0.0.1", "::1")
            http = openai.DefaultAsyncHttpxClient(trust_env=False) if here else None
            self._client = openai.AsyncOpenAI(
                base_url=self.url, api_key=self._key or "none", max_retries=0, timeout=self.timeout, http_client=http
            )
        return self._client

    async def close(self) -> None:
        """Close the connections."""
        client, self._client, self._room = self._client, None, None
        if client is not None:
            await client.close()

    def _plain(self, text: str) -> str:
        """``text`` without the key, which some servers send back in what they complain."""
        return text.replace(self._key, "***") if self._key else text

    def _said(self, said: object) -> str:
        """What was said, in a line of 200 characters. The key goes first: a cut would leave its beginning."""
        text = " ".join(self._plain(str(said)).split()) or type(said).__name__
        return text if len(text) <= 200 else text[:199] + "…"

    def _kept(self, messages: Messages, schema: dict[str, Any]) -> Any:
        key = hashlib.sha256(json.dumps([self.shown, self.model, messages, schema]).encode()).hexdigest()
        return cache.folder() / "verdicts" / key[:2] / f"{key}.json"


class _Failure(Exception):
    """One attempt that gave no answer."""

    def __init__(self, why: str, *, again: bool = True, after: float | None = None) -> None:
        super().__init__(why)
        self.again, self.after = again, after


def _request(model: str, messages: Messages, schema: dict[str, Any], way: _Way) -> dict[str, Any]:
    request: dict[str, Any] = {"model": model, "messages": messages}
    request[way.limit] = ANSWER_TOKENS if way.limit == "max_tokens" else THINKING_TOKENS
    if way.temperature:
        request["temperature"] = 0
    if way.format == "json_schema":
        named = {"name": "verdict", "strict": True, "schema": schema}
        request["response_format"] = {"type": "json_schema", "json_schema": named}
    elif way.format == "json_object":
        # llama.cpp's own server keeps to a schema that stands here; others do not mind it.
        request["response_format"] = {"type": "json_object", "schema": schema}
    return request


def _simpler(way: _Way, complaint: str) -> _Way | None:
    """The next way to ask an endpoint that refused this one; None where there is none."""
    said = complaint.lower()
    if way.limit == "max_tokens" and "max_completion_tokens" in said:
        return replace(way, limit="max_completion_tokens")
    if way.temperature and "temperature" in said:
        return replace(way, temperature=False)
    place = FORMATS.index(way.format)
    return replace(way, format=FORMATS[place + 1]) if place + 1 < len(FORMATS) else None


def _text(answer: Any, cost: dict[str, int | float], line: Callable[[object], str]) -> str:
    """The answer's text; what it cost is added to ``cost``. line: a refusal as it may be told.

    Raises _Failure, Unparseable.
    """
    usage = getattr(answer, "usage", None)
    for name in ("prompt_tokens", "completion_tokens"):
        cost[name] += getattr(usage, name, None) or 0
    try:
        choice = answer.choices[0]
        refusal, text = getattr(choice.message, "refusal", None), choice.message.content
    except (AttributeError, IndexError, TypeError):
        raise _Failure("the answer has no message") from None
    if refusal:
        raise Unparseable(f"the judge refused: {line(refusal)}")
    if not isinstance(text, str) or not text.strip():
        raise Unparseable("it is empty" + (", cut at its limit" if choice.finish_reason == "length" else ""))
    return text


def _after(headers: Any) -> float | None:
    """Seconds that Retry-After asks for: a number, or a date."""
    said = str(headers.get("retry-after") or "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", said):
        return float(said)
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except ValueError:
        return None


def _cost() -> dict[str, int | float]:
    return {"prompt_tokens": 0, "completion_tokens": 0, "seconds": 0.0}


def _by(answer: Any) -> str | None:
    """As ``gpt-4o-2024-08-06 (fp_44709d6fcb)``: what a name asked for stood for at that time."""
    said = [getattr(answer, name, None) for name in ("model", "system_fingerprint")]
    model, build = (" ".join(each.split())[:100] if isinstance(each, str) else "" for each in said)
    return (f"{model or 'no name'} ({build})" if build else model) or None


def _read(path: Any) -> tuple[str, str | None] | None:
    """An answer and who gave it: None in what was kept before that was."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        text, by = kept["text"], kept.get("by")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return (text, by if isinstance(by, str) else None) if isinstance(text, str) else None


def _write(path: Any, text: str, by: str | None) -> None:
    with suppress(OSError):  # It is asked again next time.
        cache.write(path, json.dumps({"text": text, "by": by}))
