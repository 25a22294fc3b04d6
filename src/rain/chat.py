"""Messages to tokens: the model's own chat template, the turns of a base model, or a text to be continued.

What people typed never becomes a control token, whatever it looks like: it is read as plain text. Of what a vocabulary
lists as user-defined (``<tool_call>``) llama.cpp makes its token all the same.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Literal, NoReturn, TypeAlias

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from rain.engines.engine import Engine
from rain.errors import UsageError

Style: TypeAlias = Literal["chat", "turns", "plain"]
ROLES = ("system", "user", "assistant")

TURNS_STOP = "Human:"
TURNS_TITLE = "A person and a well-informed, considerate assistant talk about everyday things."
TURNS_EXAMPLES = (
    ("What could I cook with two eggs and some leftover rice?", "Fried rice: scramble the eggs, add the rice and a "
     "little soy sauce, and stir over high heat until it is hot."),
    ("Thanks! And how do I keep a basil plant alive on a windowsill?", "Water it when the top of the soil feels dry, "
     "give it plenty of light, and pick the tips so that it grows bushy."),
    ("My sister passed her driving test today.", "How lovely, congratulations to her! Are you going to celebrate?"),
    ("We are. Which is further from the sun, Mars or Venus?", "Mars. Venus is the second planet from the sun, Mars "
     "the fourth."),
)  # fmt: skip
"""Four benign turns in front of the person's own, so that a base model goes on as the assistant (ours)."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message; ``role`` is one of :data:`ROLES`."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """What is to be answered: messages that end with the user's.

    ``chat``: through the model's own template. ``turns``: Human and Assistant lines for a base model.
    ``plain``: one user message, a text that is continued (a system message before it is a heading).
    """

    messages: tuple[Message, ...]
    style: Style = "chat"


def default_style(engine: Engine) -> Style:
    """``chat`` where the model has a template, else ``turns``."""
    return "chat" if engine.template else "turns"


def stop_strings(conversation: Conversation) -> tuple[str, ...]:
    """The strings that end a reply in this style."""
    return (TURNS_STOP,) if conversation.style == "turns" else ()


def with_system(conversation: Conversation, text: str) -> Conversation:
    """The same conversation with ``text`` first among its instructions."""
    first = conversation.messages[0]
    if first.role == "system":
        merged = Message("system", f"{text}\n\n{first.content}")
        return replace(conversation, messages=(merged, *conversation.messages[1:]))
    return replace(conversation, messages=(Message("system", text), *conversation.messages))


def prompt_tokens(engine: Engine, conversation: Conversation) -> tuple[int, ...]:
    """The token ids after which the reply begins.

    Raises UsageError: nothing to answer, an unknown role, a style the model or the messages do not allow, a template
    that refuses the conversation.
    """
    _check(engine, conversation)
    if conversation.style == "chat":
        return _begin(engine, _encode(engine, _rendered(engine, conversation.messages)))
    return engine.tokenizer.encode(_plain_prompt(conversation), bos=True)


def close_and_ask(engine: Engine, conversation: Conversation, question: str, answer: str) -> tuple[int, ...]:
    """Tokens that follow a reply to ``conversation``: they end its turn, ask, and begin the answer with ``answer``.

    In a plain text nobody has a turn: what shows that an answer begins there is for ``answer`` to say.
    Raises UsageError as :func:`prompt_tokens` does.
    """
    if conversation.style == "turns":
        return engine.tokenizer.encode(f"\n\nHuman: {question}\n\nAssistant: {answer}")
    if conversation.style == "plain":
        return engine.tokenizer.encode(f"\n\n{question}\n{answer}")
    reply, asked = Message("assistant", "ok"), Message("user", question)
    tail = _behind(reply, _rendered(engine, (*_supported(engine, conversation.messages), reply, asked)))
    if tail is None:
        raise UsageError(f"the chat template of {engine.name} hides earlier replies; judge with placement 'quoted'")
    return _encode(engine, [*tail, _Part(answer, Message("assistant", answer))])


def close_and_open(engine: Engine, conversation: Conversation, beginning: str) -> tuple[int, ...]:
    """Tokens that follow a reply to ``conversation``: they end its turn and open another, begun with ``beginning``.

    Nobody speaks in between. Raises UsageError: a style or a template in which the assistant has no turn to open.
    """
    if conversation.style == "turns":
        return engine.tokenizer.encode(f"\n\nAssistant: {beginning}")
    if conversation.style == "plain":
        raise UsageError("in the style 'plain' the assistant has no turn that could be opened anew")
    reply = Message("assistant", "ok")
    messages = (*_supported(engine, conversation.messages), reply)
    tails = [_behind(reply, _split(engine, messages, open_turn=is_open)) for is_open in (True, False)]
    # A template that opens nothing (the turn begins where the person's ends) writes the same either way.
    if tails[0] is None or tails[0] == tails[1]:
        raise UsageError(f"the chat template of {engine.name} does not open a second turn of the assistant")
    return _encode(engine, [*tails[0], _Part(beginning, Message("assistant", beginning))])


def thinking_markers(engine: Engine) -> tuple[str, str] | None:
    """What stands around a reasoning model's thoughts, None where the template names nothing of the kind."""
    template = engine.template or ""
    return ("<think>", "</think>") if "<think>" in template or "</think>" in template else None


def opens_thinking(engine: Engine, conversation: Conversation) -> bool:
    """Whether the prompt ends inside the thoughts, so that the reply begins with them."""
    if conversation.style != "chat" or thinking_markers(engine) is None:
        return False
    last = _rendered(engine, conversation.messages)[-1]
    return last.message is None and _is_open(last.text)


def parse_messages(text: str) -> tuple[Message, ...]:
    """Messages from JSON: ``[{"role": "user", "content": "…"}, …]``. Raises UsageError: what is wrong, and where."""
    try:
        rows = _ROWS.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UsageError(
            f"messages: {where}: {first['msg']}. "
            'Expected a list such as [{"role": "user", "content": "Hello"}], roles system, user, assistant.'
        ) from error
    if not rows:
        raise UsageError("messages: the list is empty; the last message must be the user's")
    return tuple(Message(row.role, row.content) for row in rows)


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    role: Literal["system", "user", "assistant"]
    content: str


_ROWS = TypeAdapter(list[_Row])


def _check(engine: Engine, conversation: Conversation) -> None:
    messages, style = conversation.messages, conversation.style
    for message in messages:
        if message.role not in ROLES:
            raise UsageError(f"unknown role {message.role!r}; expected one of {', '.join(ROLES)}")
    if any(message.role == "system" for message in messages[1:]):
        raise UsageError("a system message may only come first")
    if not messages or messages[-1].role != "user":
        raise UsageError("there is nothing to answer: the last message must be the user's")
    if not messages[-1].content.strip():
        raise UsageError("the prompt is empty; give the model something to answer")
    if style == "chat" and not engine.template:
        raise UsageError(f"{engine.name} has no chat template; use the style 'turns' or 'plain'")
    if style == "plain" and sum(message.role != "system" for message in messages) > 1:
        raise UsageError("the style 'plain' continues one text; this conversation has several messages")


def _plain_prompt(conversation: Conversation) -> str:
    system = [message.content for message in conversation.messages if message.role == "system"]
    spoken = [(message.role, message.content) for message in conversation.messages if message.role != "system"]
    if conversation.style == "plain":
        return "\n\n".join((*system, spoken[0][1]))
    examples = [turn for asked, answered in TURNS_EXAMPLES for turn in (("user", asked), ("assistant", answered))]
    names = {"user": "Human", "assistant": "Assistant"}
    turns = [f"{names[role]}: {content}" for role, content in (*examples, *spoken)]
    # No space after the last colon: the model's own first token brings it.
    return "\n\n".join((TURNS_TITLE, *system, *turns, "Assistant:"))


# --- chat templates


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch of the rendered template: the template's own text, or (``message``) what somebody wrote."""

    text: str
    message: Message | None


def _behind(reply: Message, parts: list[_Part]) -> list[_Part] | None:
    """What follows ``reply``, thoughts closed if they would be open; None where the template hides the reply."""
    where = max((index for index, part in enumerate(parts) if part.message is reply), default=None)
    if where is None:
        return None
    tail = parts[where + 1 :]
    if tail and tail[-1].message is None and _is_open(tail[-1].text):
        tail.append(_Part("\n</think>\n\n", None))
    return tail


def _is_open(text: str) -> bool:
    return text.rfind("<think>") > text.rfind("</think>")


def _begin(engine: Engine, tokens: tuple[int, ...]) -> tuple[int, ...]:
    bos = engine.tokenizer.bos
    # Many templates leave the first token to the tokenizer.
    return tokens if bos is None or tokens[:1] == (bos,) else (bos, *tokens)


def _encode(engine: Engine, parts: list[_Part]) -> tuple[int, ...]:
    """One piece where that is safe, so that tokens merge across the seams as in training; else part by part."""
    tokenizer = engine.tokenizer
    written = [part.text for part in parts if part.message]
    if all(tokenizer.encode(text, special=True) == tokenizer.encode(text) for text in written):
        tokens = tokenizer.encode("".join(part.text for part in parts), special=True)
        control = sum(not tokenizer.piece(token) for token in tokens)
        own = (tokenizer.encode(part.text, special=True) for part in parts if not part.message)
        if control == sum(not tokenizer.piece(token) for ids in own for token in ids):
            return tokens
    return tuple(token for part in parts for token in tokenizer.encode(part.text, special=part.message is None))


def _supported(engine: Engine, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages, the system's moved into the first user turn where the template does not take one."""
    if messages[0].role != "system":
        return messages
    try:
        parts = _split(engine, messages)
    except UsageError:
        parts = []
    if any(part.message is messages[0] for part in parts):
        return messages
    system, first, *rest = messages
    return (Message(first.role, f"{system.content}\n\n{first.content}"), *rest)


def _rendered(engine: Engine, messages: tuple[Message, ...]) -> list[_Part]:
    messages = _supported(engine, messages)
    parts = _split(engine, messages)
    shown = {id(part.message) for part in parts}
    if id(messages[-1]) not in shown:
        raise UsageError(f"the chat template of {engine.name} leaves out the user's message; use the style 'turns'")
    return parts


def _split(engine: Engine, messages: tuple[Message, ...], *, open_turn: bool = True) -> list[_Part]:
    """Render with placeholders for what people wrote, and cut there. open_turn: the assistant's, at the end."""
    nonce = f"x{secrets.token_hex(8)}x"
    names = [f"{nonce}{index}x" for index in range(len(messages))]
    rows = [{"role": message.role, "content": name} for message, name in zip(messages, names, strict=True)]
    rest = _render(engine, rows, open_turn)
    parts: list[_Part] = []
    while rest:
        found = [(rest.find(name), index) for index, name in enumerate(names) if name in rest]
        if not found:
            parts.append(_Part(rest, None))
            break
        at, index = min(found)
        if at:
            parts.append(_Part(rest[:at], None))
        if messages[index].content:
            parts.append(_Part(messages[index].content, messages[index]))
        rest = rest[at + len(names[index]) :]
    return parts


def _render(engine: Engine, rows: list[dict[str, str]], open_turn: bool) -> str:
    try:
        return _compiled(engine.template or "").render(
            messages=rows, add_generation_prompt=open_turn, tools=None, documents=None, **engine.template_tokens
        )
    except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise UsageError(
            f"the chat template of {engine.name} refuses this conversation: {error}. "
            "Roles must usually alternate and end with the user's; or use the style 'turns'."
        ) from error


@lru_cache(maxsize=16)
def _compiled(template: str) -> jinja2.Template:
    # A template comes with a downloaded model: it runs in a sandbox.
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment.from_string(template)


class _Generation(Extension):
    """``{% generation %}`` marks what a trainer learns from; to us it is what stands inside."""

    tags = {"generation"}  # noqa: RUF012 (jinja2 declares it as an instance attribute)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _to_json(value: object, indent: int | None = None, **_: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)
