"""Another model judges: it reads the writer's replies as text, in its own tokens and its own conversation.

A reply that continues another has the same judge's prefixes as that one, up to where its tokens differ (the last few,
where words meet), so that the judge's cache works as the writer's does. It must read the conversation itself.
"""

from __future__ import annotations

from dataclasses import replace
from weakref import WeakKeyDictionary

from rain.chat import Conversation, default_style, prompt_tokens
from rain.engines.engine import Engine, Tokenizer
from rain.errors import UsageError
from rain.preferences.evaluators import Evaluator, Judgement
from rain.search.asks import Prefix


class Reader:
    """Replies behind the writer's prompt, as a judge reads them behind its own."""

    def __init__(
        self, writer: Tokenizer, source: Prefix, judge: Tokenizer, conversation: Conversation, prompt: Prefix
    ) -> None:
        """source: the writer's prompt. conversation, prompt: the judge's."""
        self.conversation, self.prompt = conversation, prompt
        self._writer, self._source, self._judge = writer, source, judge
        # Weak keys: a link lives here as long as the search holds the link it stands for.
        self._links: WeakKeyDictionary[Prefix, Prefix] = WeakKeyDictionary()

    def of(self, reply: Prefix) -> Prefix:
        """The reply for the judge. Raises ValueError if it does not stand behind the writer's prompt."""
        here, text = self.prompt, b""
        for link in reply.chain(self._source):
            text += b"".join(self._writer.piece(token) for token in link.tokens)
            known = self._links.get(link)
            if known is None:
                known = self._links[link] = self._continued(here, text)
            here = known
        return here

    def _continued(self, before: Prefix, text: bytes) -> Prefix:
        """``text`` behind the prompt, as much of ``before`` (its beginning) kept as its tokens allow."""
        # A character that is not whole yet is left to whoever completes it.
        tokens = self._judge.encode(self._fitted(text.decode("utf-8", "ignore")))
        same = 0
        for one, other in zip(tokens, before.path(self.prompt), strict=False):
            if one != other:
                break
            same += 1
        while before is not self.prompt and before.length > self.prompt.length + same:
            parent = before.parent
            assert parent is not None
            kept = self.prompt.length + same - parent.length
            before = Prefix(before.tokens[:kept], parent) if kept > 0 else parent
        return Prefix(tokens[same:], before) if same < len(tokens) else before

    def _fitted(self, text: str) -> str:
        """With the space, or without, that stands between the end of a prompt and a reply in the judge's style."""
        if self.conversation.style == "chat":
            return text.lstrip()
        if self.conversation.style == "turns" and text and not text[0].isspace():
            return f" {text}"
        return text


class ForeignEvaluator:
    """What ``inner`` says of the writer's replies. Its questions are for the judge's engine."""

    def __init__(self, inner: Evaluator, reader: Reader) -> None:
        self.kind, self.placement, self.score = inner.kind, inner.placement, inner.score
        self.bounded, self.self_evaluation = inner.bounded, inner.self_evaluation
        self.inner, self._reader = inner, reader

    @staticmethod
    def read_by(judge: Engine, writer: Engine, conversation: Conversation, prompt: Prefix) -> Reader:
        """The writer's conversation as the judge reads it. Raises UsageError where that is too long for it."""
        style = "plain" if conversation.style == "plain" else default_style(judge)
        own = replace(conversation, style=style)
        tokens = prompt_tokens(judge, own)
        if len(tokens) >= judge.can.context:
            raise UsageError(
                f"the prompt is {len(tokens):,} tokens long for the judge {judge.name}, which holds "
                f"{judge.can.context:,} here; shorten it, or raise --context"
            )
        return Reader(writer.tokenizer, prompt, judge.tokenizer, own, Prefix(tokens))

    def judge(self, reply: Prefix, complete: bool) -> Judgement:
        """The inner evaluator's judgement of the text; see :meth:`Evaluator.judge`."""
        return (yield from self.inner.judge(self._reader.of(reply), complete))
