"""Where a judge reads the reply: in a prompt of its own (quoted), or behind the reply itself (in place).

Either way the tokens of the reply are never tokenised again, and what was judged for a shorter reply is not computed
again for one that continues it: the links of the reply's chain are mirrored one by one behind the judge's own prompt,
and the engine knows them again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from rain.chat import Conversation, close_and_ask, with_system
from rain.chat import prompt_tokens as chat_prompt_tokens
from rain.engines.engine import Engine
from rain.errors import UsageError
from rain.preferences.preference import Placement
from rain.search.asks import Prefix


class Mirror:
    """The reply's chain once more, behind another prompt."""

    def __init__(self, source: Prefix, root: Prefix, leave_out: frozenset[int]) -> None:
        """source: the prompt that replies stand behind. root: what they shall stand behind here (held strongly).
        leave_out: tokens that are not text (end of sequence).
        """
        self.root = root
        self._source = source
        self._leave_out = leave_out
        # Weak keys: a link lives here as long as the search holds the link it mirrors.
        self._links: WeakKeyDictionary[Prefix, Prefix] = WeakKeyDictionary()

    def of(self, reply: Prefix) -> Prefix:
        """The mirrored reply. Raises ValueError if the reply does not stand behind the source."""
        here = self.root
        for link in reply.chain(self._source):
            mirrored = self._links.get(link)
            if mirrored is None:
                tokens = tuple(token for token in link.tokens if token not in self._leave_out)
                mirrored = Prefix(tokens, here) if tokens else here
                self._links[link] = mirrored
            here = mirrored
        return here


@dataclass(frozen=True, slots=True)
class Placed:
    """A placement, ready for use."""

    placement: Placement
    reply: Callable[[Prefix], Prefix]
    """The prefix that holds the reply for the judge."""
    ask: Callable[[str, str], tuple[int, ...]]
    """Tokens of a question (may be empty) and of the beginning of its answer."""


def place(
    engine: Engine, conversation: Conversation, prompt: Prefix, placement: Placement, fixed: str, question: str = ""
) -> Placed:
    """The one place that decides where a question is asked.

    fixed: what stands first in a quoted prompt (task, examples). question: what is asked in place, before the
    evaluator's own question, since nothing stands first there.
    """
    if placement == "in_place":

        def ask_in_place(own: str, answer: str) -> tuple[int, ...]:
            return close_and_ask(engine, conversation, "\n".join(part for part in (question, own) if part), answer)

        ask_in_place("?", "")  # a template that cannot close a turn is found out before the search begins
        return Placed("in_place", _without_end(engine, prompt), ask_in_place)
    tokenizer = engine.tokenizer
    shared = Prefix(tokenizer.encode(fixed, bos=True))
    case = Prefix(tokenizer.encode(_quote(conversation)), shared)
    mirror = Mirror(prompt, case, tokenizer.eos)

    def ask_quoted(own: str, answer: str) -> tuple[int, ...]:
        return tokenizer.encode(f"\n{own}\n{answer}" if own else f"\n{answer}")

    return Placed("quoted", mirror.of, ask_quoted)


def right_behind(engine: Engine, prompt: Prefix) -> Placed:
    """In place without closing the turn: what is asked is what the text's own writer would say next."""

    def ask(_question: str, answer: str) -> tuple[int, ...]:
        return engine.tokenizer.encode(f"\n\n{answer}")

    return Placed("in_place", _without_end(engine, prompt), ask)


def instructed(engine: Engine, conversation: Conversation, prompt: Prefix, instruction: str) -> Mirror:
    """The reply behind the same conversation with one more instruction in front (contrastive judging)."""
    tokens = chat_prompt_tokens(engine, with_system(conversation, instruction))
    return Mirror(prompt, Prefix(tokens), engine.tokenizer.eos)


def choices_in_context(asked: list[tuple[int, ...]], words: list[str]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The question that several answers share, and the one token by which each answer goes on.

    asked: the token ids of the whole question with each answer. Raises UsageError where an answer is not one token.
    """
    shared = common_prefix(asked)
    if len({tokens[-1:] for tokens in asked}) < len(asked) or any(len(tokens) != len(shared) + 1 for tokens in asked):
        raise UsageError(f"this model's tokenizer writes {', '.join(words)} as letters that are not single tokens")
    return shared, tuple(tokens[-1] for tokens in asked)


def common_prefix(sequences: list[tuple[int, ...]]) -> tuple[int, ...]:
    """The longest beginning that all sequences share."""
    first, *rest = sequences
    length = 0
    while all(tokens[length : length + 1] == first[length : length + 1] for tokens in rest) and length < len(first):
        length += 1
    return first[:length]


def to_last_full_stop(piece: Callable[[int], bytes], reply: Prefix, prompt: Prefix) -> Prefix:
    """``reply`` without what follows its last full stop; all of it where there is none."""
    for link in reversed(reply.chain(prompt)):
        for count in range(len(link.tokens), 0, -1):
            if b"." in piece(link.tokens[count - 1]):
                return link if count == len(link.tokens) else Prefix(link.tokens[:count], link.parent)
    return reply


def _quote(conversation: Conversation) -> str:
    spoken = [message for message in conversation.messages if message.role != "system"]
    if conversation.style == "plain":
        return f"Text:\n{spoken[-1].content}"
    names = {"user": "Person", "assistant": "Assistant"}
    lines = "\n".join(f"{names[message.role]}: {message.content}" for message in spoken)
    return f"{lines}\nAssistant:\n"


def _without_end(engine: Engine, prompt: Prefix) -> Callable[[Prefix], Prefix]:
    eos = engine.tokenizer.eos
    mirror = Mirror(prompt, prompt, eos)

    def reply_itself(reply: Prefix) -> Prefix:
        # Mirrored only where an end-of-sequence token stands in it; else its own cells are used.
        return mirror.of(reply) if any(token in eos for token in reply.path(prompt)) else reply

    return reply_itself
