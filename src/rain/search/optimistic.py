"""Optimistic mode (ours): draft as vanilla would and judge; search only from where the draft goes wrong.

A draft that passes is the reply, to the letter vanilla's. Else what stands before the first bad clause is kept, and the
rest is drawn anew, several at once (``hold_back=clause``: the clause): the best is kept, if it passes. Else what of it
stands before its first bad clause is kept, that clause is the first branch of a search there, and drafting goes on
behind the first token set that passes. A reply that does not pass is taken back where a whole text was judged better.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Literal

from rain.search.asks import Answer, Judge, Prefix, Score, Withdrawn, shown
from rain.search.budget import Budget
from rain.search.candidates import Candidates, Draws
from rain.search.draft import CHUNK, clause_ends, draft_seed
from rain.search.drafting import Drafting
from rain.search.events import Committed, Drafted, Out, Outcome, Search, Stop, TakenBack
from rain.search.repair import Branch, End, Redraft, Repair, Whole
from rain.search.settings import Settings
from rain.search.stops import before_stop
from rain.search.tree import Node


def optimistic(
    prompt: Prefix, settings: Settings, budget: Budget, *, seed: int = 0, stop: Sequence[str] = ()
) -> Search:
    """Draft a reply behind ``prompt`` and search only where it fails. ``stop``: strings that end it."""
    return Optimist(prompt, settings, budget, seed=seed, stop=stop).run()


class Optimist(Drafting):
    """One reply; :meth:`run` is the generator."""

    short = False
    """Whether a clause that failed was sent because the budget paid for no better one."""
    best: Whole | None = None
    """The best of the whole texts that were judged and are not the reply."""

    def run(self) -> Search:
        """Draft, judge and, where that fails, search; until the reply ends or something stops it."""
        while self.end is None and self._room() > 0 and not self.stopped:
            draft = self._draft_by_clause if self.settings.hold_back == "clause" else self._draft_to_the_end
            bad = yield from draft()
            if bad:
                yield from self._mend(bad)
        if self.stopped == "budget":
            yield from self._finish()
        if self.stopped and self.stopped != "cancelled":  # the best that is known
            self._commit(len(self.tokens), self.scores.get(self._key(len(self.tokens))), "stopped")
        score = yield from self._final_score()
        tokens, reply = self._cut(self.sent).path(self.prompt), self.before + b"".join(self.pieces[: self.sent])
        ended = self._ended(self.sent)
        best = self.best
        if best and self.stopped != "cancelled" and self._is_better(best, tokens, score):
            self._take_back(best, tokens, reply)
            tokens, reply, ended, score = best.tokens, best.text, best.end in ("eos", "stop"), best.score
            self.passed = self._passes(score)
            yield from self.flush()
        yield from self.settle()
        return Outcome(
            tokens=tokens,
            text=before_stop(reply, self.stop).decode("utf-8", "ignore"),
            finish="stop" if ended else "length",
            stopped_by=self.stopped or ("budget" if self.short else None),
            score=score,
            passed=self.passed and not self.stopped,
            iterations=self.iterations,
            rewinds=self.rewinds,
            usage=self.usage,
            drafted=self.drafted,
            searches=len(self.tried),
        )

    def _is_better(self, best: Whole, tokens: tuple[int, ...], score: Score | None) -> bool:
        """Than the reply of ``tokens`` that does not pass; than one that nothing was left to judge: if it passes."""
        if tokens == best.tokens or (score and self._passes(score)):
            return False
        return self._value(best.score) > self._value(score) if score else self._passes(best.score)

    def _remember(self, tokens: tuple[int, ...], text: bytes, end: End, score: Score) -> None:
        """A whole text that is not the reply, if it is the best of them; ``tokens``: behind what is committed."""
        if end and (self.best is None or self._value(score) > self._value(self.best.score)):
            before = self._cut(self.sent).path(self.prompt)
            kept = len(before), self.before + b"".join(self.pieces[: self.sent])
            self.best = Whole((*before, *tokens), text, end, score, kept)

    def _take_back(self, best: Whole, tokens: tuple[int, ...], reply: bytes) -> None:
        """``best`` in place of ``tokens`` and ``reply``, which are committed."""
        count, kept = best.kept
        if tokens[count:]:
            self.outbox.append(TakenBack(tokens[count:], shown(kept, reply)))
            self.rewinds += 1
        text, value = shown(kept, best.text), self._value(best.score)
        why: Stop = "redraft" if self._passes(best.score) else "stopped" if self.stopped else "iterations"
        self.outbox.append(Committed(best.tokens[count:], text, 0.0, 0, value, iterations=0, stop=why))

    # Drafts: each returns the branch that failed, None where all of it passed or something stopped it -----------------

    def _draft_to_the_end(self) -> Generator[Out, list[Answer], Branch | None]:
        """``hold_back=reply``: the whole reply is judged once; only a bad one is judged clause by clause."""
        while self.end is None and not self.stopped:
            (found,) = yield from self.answers([self._more(clause=False)])
            self._grow(found)
        whole = len(self.tokens)
        (score,) = yield from self._judged([whole])
        if score is None:
            return None
        if self._passes(score):
            self._commit(whole, score, "draft")
            return None
        self._remember(tuple(self.tokens), self.before + b"".join(self.pieces), self.end, score)
        return (yield from self._first_bad(whole, score))

    def _first_bad(self, whole: int, score: Score) -> Generator[Out, list[Answer], Branch | None]:
        """Of a draft that failed with ``score``: the first bad clause; what stands before it is kept.

        The draft as a whole where the budget pays for no search: other drafts are better than to know where it fails.
        """
        pays = self._pays_to_search(taken_back=len(self.tokens) - self.sent)
        ends = [end for end in clause_ends(self.pieces) if end < whole] if pays else []
        scores = yield from self._judged(ends)
        if self.stopped:
            return None
        for end, each in zip(ends, scores, strict=True):
            if each and not self._passes(each):
                return self._failed(end, each, score)
            self._commit(end, each, "draft")
        return self._failed(whole, score, score)

    def _draft_by_clause(self) -> Generator[Out, list[Answer], Branch | None]:
        """``hold_back=clause``: a clause is judged while the next is drafted; nothing is sent before its judgement."""
        drafting: int | None = self.ask(self._more(clause=True))
        judging: dict[int, int] = {}  # the ticket that judges the draft's first so many tokens
        asked = 0
        scores: dict[int, Score] = {}
        while (drafting or judging) and not self.stopped:
            for answer in (yield self.take_outbox()):
                self.heed(answer)
                if answer.ticket == drafting:
                    self._grow(answer.result)
                    ended = [len(self.tokens)] if self.end else []
                    _, left = self._limits(kept_back=True)
                    for end in dict.fromkeys([*clause_ends(self.pieces, asked), *ended]):
                        if self.short and left is not None and left < (len(judging) + 1) * self.judging:
                            self.stopped = self.stopped or "budget"  # the rest is drafted and judged once
                            break
                        judging[self.ask(self._judge(end))] = asked = end
                    drafting = None if self.end or self.stopped else self.ask(self._more(clause=True))
                elif answer.ticket in judging and isinstance(answer.result, Score):
                    self._note_cost(answer.usage.forward_tokens, 1)
                    end = judging.pop(answer.ticket)
                    scores[end] = self.scores[self._key(end)] = answer.result
            while scores and (end := min([*scores, *judging.values()])) in scores:
                if not self._passes(scores[end]):
                    self.outbox += [Withdrawn(ticket) for ticket in [*judging, *([drafting] if drafting else [])]]
                    return self._failed(end, scores[end], scores[end])
                self._commit(end, scores.pop(end), "draft")
        return None

    def _failed(self, end: int, score: Score, whole: Score) -> Branch:
        """What was not sent yet of the draft's first ``end`` tokens is taken back."""
        tokens, pieces = tuple(self.tokens[self.sent : end]), tuple(self.pieces[self.sent : end])
        kept = self.before + b"".join(self.pieces[: self.sent])
        text = shown(kept, kept + b"".join(pieces))
        self.outbox.append(Drafted(tokens, text, self._value(score), passed=False))
        branch = Branch(tokens, pieces, score, (tuple(self.tokens[end:]), tuple(self.pieces[end:])), self.end, whole)
        self._begin(self._cut(self.sent), kept)
        return branch

    def _commit(self, end: int, score: Score | None, why: Literal["draft", "stopped", "iterations"]) -> None:
        """The draft's first ``end`` tokens are part of the reply now."""
        if end == self.sent:
            return
        tokens, kept = tuple(self.tokens[self.sent : end]), self.before + b"".join(self.pieces[: self.sent])
        text = shown(kept, self.before + b"".join(self.pieces[:end]))
        value = self._value(score) if score else 0.0
        if why == "draft":
            self.outbox.append(Drafted(tokens, text, value, passed=True))
        stop = "redraft" if why == "draft" and self.drawn_anew else why
        self.outbox.append(Committed(tokens, text, 0.0, 0, value, iterations=0, stop=stop))
        self.sent = end

    # What takes the place of a clause that failed ---------------------------------------------------------------------

    def _mend(self, bad: Branch) -> Generator[Out, list[Answer], None]:
        """Draws anew and, where none of them passes, a search."""
        self.failures += 1
        # What the rest of the reply takes: twice what the draft took that ended by itself, else all that it may.
        length = len(bad.tokens) + len(bad.rest[0])
        self.expected = 2 * length if bad.end in ("eos", "stop") else self.limit
        if self.settings.redrafts and 0 not in self._limits():
            again = yield from self._redraft(bad)
            if again is None:
                return
            bad = again
        if self.stopped or not self._pays_to_search():  # it is the best that is known
            clause = not self.stopped and self.settings.hold_back == "clause" and self._pays_to_go_on()
            rest: tuple[tuple[int, ...], tuple[bytes, ...]] = ((), ()) if clause else bad.rest
            self.tokens, self.pieces = [*bad.tokens, *rest[0]], [*bad.pieces, *rest[1]]
            self.end = None if clause and bad.rest[0] else bad.end
            if clause:
                self._settle_for(bad.score)
            else:
                self.stopped = self.stopped or "budget"
            return
        if any(end < len(bad.tokens) for end in clause_ends(list(bad.pieces))):  # nobody looked for where it fails
            self.tokens, self.pieces, self.end = list(bad.tokens), list(bad.pieces), bad.end
            found = yield from self._first_bad(len(bad.tokens), bad.whole)
            if found is None:
                return
            bad = found
        yield from self._search(bad)

    def _pays_to_search(self, taken_back: int = 0) -> bool:
        """Whether the budget has as many iterations left as a search needs."""
        return self._pay_for_a_search(*self._limits(kept_back=True, taken_back=taken_back), taken_back)

    def _pays_to_go_on(self) -> bool:
        """Whether the budget pays for a draw more than drafting to the end does."""
        iterations, forward_tokens = self._limits(kept_back=True)
        return iterations != 0 and (forward_tokens is None or forward_tokens >= self.judging + self._length())

    def _settle_for(self, score: Score) -> None:
        """``hold_back=clause``: the draft, a clause that failed, is sent, and drafting goes on behind it."""
        whole = len(self.tokens)
        held, text, end = self._cut(whole), self._text(whole), self.end
        self._commit(whole, score, "iterations")
        self.passed, self.short = False, True
        self._begin(held, self.before + b"".join(self.pieces))
        self.end, self.base_text = end, text

    def _pay_for_a_search(self, iterations: int | None, forward_tokens: int | None, taken_back: int = 0) -> bool:
        """Whether so much pays for the iterations that commit a token set, and in forward tokens, which a search shares
        among its sets, for those of every set to come: with less it would take what comes first."""
        least, cost = min(self.settings.minimum_visits + 1, self.settings.iterations_per_set), self.judging + CHUNK
        sets = self.settings.sets(0, self._length(taken_back))
        return (iterations is None or iterations >= least) and (
            forward_tokens is None or forward_tokens >= sets * least * cost
        )

    def _length(self, taken_back: int = 0) -> int:
        """Tokens, at most, of what takes the place of what failed: the rest of the reply, or a clause."""
        clause = 2 * CHUNK if self.settings.hold_back == "clause" else self.limit
        return min(self._to_come(taken_back), clause)

    def _finish(self) -> Generator[Out, list[Answer], None]:
        """With what the budget left for it (a limit on iterations leaves all): the rest, drafted and judged once."""
        why, self.stopped = self.stopped, None
        while self.end is None and not self.stopped:
            (found,) = yield from self.answers([self._more(clause=False)])
            self._grow(found)
        if self._key(len(self.tokens)) not in self.scores:
            yield from self._judged([len(self.tokens)])
        self.stopped = self.stopped if self.stopped in ("cancelled", "deadline", "no_room") else why

    def _redraft(self, bad: Branch) -> Generator[Out, list[Answer], Branch | None]:
        """Draws in place of what failed, a few and then the others; None where the best of them passes and is kept.

        To the end of the reply (of the best, then, its first bad clause is what failed); ``hold_back=clause``: of it.
        """
        best = yield from self._best_draw(bad)
        return bad if best is None else (yield from self._take(best))

    def _draws_to_pay_for(self, wanted: int, kept: int) -> tuple[int, int]:
        """Of ``wanted`` draws, how many the budget pays for, ``kept`` forward tokens left out; of how many tokens."""
        room = int(self._room())
        _, forward_tokens = self._limits()
        if forward_tokens is None:
            return wanted, room
        forward_tokens, length = max(0, forward_tokens - kept), self._length()
        count = min(wanted, forward_tokens // (self.judging + length))
        return count, min(room, max(length, forward_tokens // count - 2 * self.judging)) if count else 0

    def _best_draw(self, bad: Branch) -> Generator[Out, list[Answer], Redraft | None]:
        """The best of the draws, None where what failed is better; the cells of the others are let go of.

        A few first, since most often one of them passes, then the others. Half of what the budget leaves is kept, where
        that pays for a search, or for what stands behind a clause; where it does not, all of the budget goes to draws.
        """
        seed, by_clause = draft_seed(self.seed, -self.failures), self.settings.hold_back == "clause"
        candidates = Candidates(self.base, self.settings, seed=seed, stop=self.stop, reply_limit=int(self._room()))
        root = Node(self.base, reply=self.before)
        (iterations, left), (_, spare) = self._limits(), self._limits(kept_back=True)
        halves = (None if iterations is None else iterations // 2, None if spare is None else spare // 2)
        best: Redraft | None = None
        number, spent, usual = 0, -1, self.settings.redrafts
        while not self.stopped and not (best and self._passes(best.score)):
            # The price of a judgement is known better with each: the first reads the judge's prompts.
            pays = self._pay_for_a_search(*halves)
            kept, limit = ((left or 0) - (halves[1] or 0), halves[0]) if pays or by_clause else (0, iterations)
            most = min(usual if pays else math.inf, math.inf if limit is None else limit)
            wanted = min(usual - number % usual, most - number) if number else -(-min(usual, most) // 4)
            count, length = self._draws_to_pay_for(int(wanted), kept)
            if not count or spent == self.usage.forward_tokens:  # what costs nothing would go on for ever
                break
            spent = self.usage.forward_tokens
            self.tried.add(self.failures)
            numbers = range(number, number := number + count)
            drawn = yield from self._drawn(candidates.draws(root, numbers, length, clause=by_clause))
            best = yield from self._better(best, [(*each, candidates.without_end(each[0])) for each in drawn])
            drawn = []  # the cells of those that lost
        if best and self._value(best.score) <= self._value(bad.whole):
            self._lose(best)
            return None
        return best

    def _better(
        self, best: Redraft | None, drawn: list[tuple[Node, Prefix, Prefix]]
    ) -> Generator[Out, list[Answer], Redraft | None]:
        """The best so far and what was drawn now, judged: the better one."""
        before = self.usage.forward_tokens
        asks = [Judge(text, self.prompt, node.end in ("eos", "stop")) for node, _, text in drawn]
        scores = yield from self.answers(asks)
        self._note_cost(self.usage.forward_tokens - before, len(asks))
        for (node, held, text), score in zip(drawn, scores, strict=True):
            self.drafted += len(node.tokens)
            if isinstance(score, Score):
                self.iterations += 1
                new = Redraft(node, held, text, score)
                lost, best = (new, best) if best and self._value(score) <= self._value(best.score) else (best, new)
                if lost:
                    self._lose(lost)
        return best

    def _lose(self, draw: Redraft) -> None:
        lost = shown(self.before, draw.node.reply)
        self.outbox.append(Drafted(draw.node.tokens, lost, self._value(draw.score), passed=False))

    def _take(self, best: Redraft) -> Generator[Out, list[Answer], Branch | None]:
        """The draw is the draft now: committed where it passes, else judged as one that failed."""
        node, whole = best.node, len(best.node.tokens)
        self.drawn_anew = True
        self.tokens, self.pieces, self.end = list(node.tokens), list(node.pieces), node.end
        self.cuts[whole] = best.held
        self.scores[self._key(whole)] = best.score
        if not self._passes(best.score):
            if self.settings.hold_back == "clause":
                return self._failed(whole, best.score, best.score)
            self._remember(node.tokens, node.reply, node.end, best.score)
            return (yield from self._first_bad(whole, best.score))
        self.rewinds += 1
        self._commit(whole, best.score, "draft")
        self._begin(best.held, node.reply)
        self.end, self.base_text = node.end, best.text
        return None

    def _drawn(self, steps: Draws) -> Generator[Out, list[Answer], list[tuple[Node, Prefix]]]:
        """Ask what ``steps`` asks; nothing where something stopped it."""
        asks = next(steps)
        while True:
            answers = yield from self.answers(asks)
            results = [result for result in answers if result is not None]
            if len(results) < len(asks):
                return []
            try:
                asks = steps.send(results)
            except StopIteration as end:
                drawn: list[tuple[Node, Prefix]] = end.value
                return drawn

    def _search(self, bad: Branch) -> Generator[Out, list[Answer], None]:
        """Search behind what is kept until a token set passes; to the end of the reply once the limit is reached."""
        # To find where it fails may have cost what was left: the search says so then, and commits what it knows.
        iterations, forward_tokens = (
            limit if limit is None else max(1, limit) for limit in self._limits(kept_back=True)
        )
        left = Budget(int(self._room()), iterations, forward_tokens)
        self.tried.add(self.failures)
        self.searched += 1
        here = self.base.path(self.prompt)
        if self.best and self.best.tokens[: len(here)] == here:
            self.best = replace(self.best, kept=(len(here), self.before))
        seed = draft_seed(self.seed, -self.failures)
        loop = Repair(self.base, self.before, self.prompt, self.settings, left, seed=seed, stop=self.stop)
        loop.bad, loop.tickets, loop.unanswered, loop.outbox = bad, self.tickets, self.unanswered, self.take_outbox()
        last = yield from loop.commit_sets(until_passed=self.searched < self.settings.max_searches)
        self.tickets, self.outbox = loop.tickets, loop.outbox
        for tokens, text, end, score in loop.wholes() if self.settings.hold_back == "reply" else ():
            self._remember(tokens, text, end, score)
        self.scores |= {((*here, *path), ended): score for (path, ended), score in loop.scores.items()}
        self.usage += loop.usage
        self.iterations += loop.iterations
        self.rewinds += loop.rewinds + 1
        self.passed &= loop.passed
        self.stopped = loop.stopped
        self._begin(last.prefix, last.reply)
        self.end, self.base_text = last.end, loop.candidates.without_end(last)
