import gc
import math
from itertools import pairwise

import pytest

from preferences.fake import END, ByteTokenizer, FakeEngine
from rain.chat import Conversation, Message, Style, prompt_tokens
from rain.engines.engine import Capabilities
from rain.errors import UsageError
from rain.preferences import load, make_evaluator
from rain.preferences.placement import Defences, defended_by
from rain.preferences.preference import Kind, Line, Placement
from rain.search.asks import Prefix, Score, Stopped, TextLogprobs, TokenLogprobs

HELLO = Conversation((Message("user", "How do I pick a lock?"),))
A, B = ord("A"), ord("B")
BARE = Defences(marks=False, told=False)
"""For tests of the layout; see test_placement.py for what is put around it."""


def start(engine: FakeEngine, conversation: Conversation = HELLO) -> Prefix:
    return Prefix(prompt_tokens(engine, conversation))


def behind(prompt: Prefix, *texts: str) -> Prefix:
    for text in texts:
        prompt = Prefix(tuple(text.encode()), prompt)
    return prompt


def by_sentence(sentence: str):
    """A model that likes the letter in front of ``sentence``, wherever it stands in the last list of options."""

    def likes(context: str, token: int) -> float:
        right = context[context.rindex(f") {sentence}") - 1]
        return math.log(0.8) if token == ord(right) else math.log(0.1)

    return likes


def texts_of(engine: FakeEngine, batch=-1) -> list[str]:
    return [engine.tokenizer.decode(q.prefix.path() + q.tokens) for q in engine.batches[batch]]


@pytest.mark.parametrize("placement", ["quoted", "in_place"])
def test_a_choice_is_asked_in_both_orders_in_one_batch(placement):
    engine = FakeEngine(by_sentence("The response is harmless."))
    prompt = start(engine)
    evaluator = make_evaluator(load("harmless"), engine, HELLO, prompt, kind="choice", placement=placement)
    score = engine.judge(evaluator, behind(prompt, "I will not help."))
    assert score == Score(soft=pytest.approx(7 / 9), hard=1.0)
    assert (evaluator.kind, evaluator.placement, evaluator.score) == ("choice", placement, "hard")
    assert len(engine.batches) == 1
    first, second = texts_of(engine)
    assert first.endswith("Answer: (")
    assert first.rindex("harmful.") < first.rindex("harmless.")
    assert second.rindex("harmless.") < second.rindex("harmful.")


def test_a_model_that_always_says_a_scores_nothing():
    engine = FakeEngine(lambda context, token: -0.1 if token == A else -3.0)
    prompt = start(engine)
    evaluator = make_evaluator(load("harmless"), engine, HELLO, prompt, kind="choice")
    assert engine.judge(evaluator, behind(prompt, "Sure.")) == Score(soft=pytest.approx(0), hard=0.0)


def test_a_tie_counts_as_harmful():
    engine = FakeEngine()
    prompt = start(engine)
    evaluator = make_evaluator(load("harmless"), engine, HELLO, prompt, kind="choice")
    assert engine.judge(evaluator, behind(prompt, "Sure.")) == Score(soft=0.0, hard=-1.0)


def test_three_options_stand_at_every_letter_once_and_neutral_is_in_the_middle():
    for sentence, hard in (("The text is positive.", 1), ("The text is neutral.", 0), ("The text is negative.", -1)):
        engine = FakeEngine(by_sentence(sentence))
        plain = Conversation((Message("user", "The film was"),), "plain")
        prompt = start(engine, plain)
        with defended_by(BARE):
            evaluator = make_evaluator(load("positive"), engine, plain, prompt, kind="choice", shots=True)
        score = engine.judge(evaluator, behind(prompt, " long."))
        assert score.hard == pytest.approx(hard)
        assert score.soft == pytest.approx(hard * 0.7)
        assert len(engine.batches[0]) == 3
        assert all("Text:\nThe film was long.\n(A)" in text for text in texts_of(engine))


def test_examples_stand_in_front_only_when_quoted():
    engine = FakeEngine()
    prompt = start(engine)
    few = make_evaluator(load("harmless"), engine, HELLO, prompt, kind="choice", shots=True)
    none = make_evaluator(load("harmless"), engine, HELLO, prompt, kind="choice", placement="quoted", shots=False)
    engine.judge(few, behind(prompt, "Sure."))
    engine.judge(none, behind(prompt, "Sure."))
    assert few.placement == "quoted"
    assert texts_of(engine, 0)[0].count("Answer: (") == 11
    assert texts_of(engine, 1)[0].count("Answer: (") == 1
    with pytest.raises(UsageError, match="prompt of their own"):
        make_evaluator(load("harmless"), engine, HELLO, prompt, kind="choice", placement="in_place", shots=True)
    with pytest.raises(UsageError, match="no examples"):
        make_evaluator(load("truthful"), engine, HELLO, prompt, kind="choice", shots=True)


@pytest.mark.parametrize("placement", ["quoted", "in_place"])
@pytest.mark.parametrize("style", ["plain", "turns", "chat"])
@pytest.mark.parametrize("kind", ["choice", "yes_no"])
def test_at_most_once_is_it_said_that_an_answer_begins(kind: Kind, style: Style, placement: Placement):
    engine = FakeEngine(tokenizer=YES_NO)
    conversation = Conversation((Message("user", "The film was"),), style)
    prompt = start(engine, conversation)
    shots = False if kind == "choice" else None
    evaluator = make_evaluator(
        load("positive"), engine, conversation, prompt, kind=kind, placement=placement, shots=shots
    )
    engine.judge(evaluator, behind(prompt, " long."))
    in_a_turn_of_its_own = kind == "yes_no" and placement == "in_place" and style != "plain"
    assert {text.count("Answer: ") for text in texts_of(engine)} == {0 if in_a_turn_of_its_own else 1}


def test_letters_are_looked_up_in_context():
    engine = FakeEngine(tokenizer=ByteTokenizer(merges=("(A", "(B")))
    prompt = start(engine)
    evaluator = make_evaluator(load("harmless"), engine, HELLO, prompt, kind="choice")
    engine.judge(evaluator, behind(prompt, "Sure."))
    assert engine.batches[0][0].choices == (300, 301)
    assert texts_of(engine)[0].endswith("Answer: ")


def test_letters_that_are_not_single_tokens_are_an_error():
    engine = FakeEngine(tokenizer=ByteTokenizer(merges=(" (A",)))
    with pytest.raises(UsageError, match="letters that are not single tokens"):
        make_evaluator(load("harmless"), engine, HELLO, start(engine), kind="choice")


def yes_unless(negative: str):
    """Says yes to everything, except where the question holds ``negative``."""

    def likes(context: str, token: int) -> float:
        no = negative in context.rsplit("?", 1)[0].rsplit("\n", 1)[-1]
        return -0.1 if (token in (300, 302)) != no else -2.0

    return likes


YES_NO = ByteTokenizer(merges=("Yes", "No", "yes", "no "))


def test_both_wordings_are_one_batch_and_cancel_a_model_that_always_says_yes():
    wise, echo = FakeEngine(yes_unless("dangerous"), tokenizer=YES_NO), FakeEngine(yes_unless("§"), tokenizer=YES_NO)
    for engine, hard in ((wise, 1.0), (echo, 0.0)):
        prompt = start(engine)
        evaluator = make_evaluator(load("harmless"), engine, HELLO, prompt, kind="yes_no")
        score = engine.judge(evaluator, behind(prompt, "I will not help."))
        assert score.hard == hard
        assert len(engine.batches[0]) == 2
        # 'no ' is not what "no" is here, "YES" has no token: only single tokens in context count.
        assert engine.batches[0][0].choices == (300, 302, 301)


@pytest.mark.parametrize("kind", ["yes_no", "choice"])
@pytest.mark.parametrize(("decisive", "asked"), [(1.0, 2), (0.999, 2), (0.1, 1)])
def test_a_decisive_first_answer_is_not_asked_for_again(kind: str, decisive: float, asked: int):
    engine = FakeEngine(lambda context, token: -0.1 if token in (300, 302, ord("A")) else -2.0, tokenizer=YES_NO)
    prompt = start(engine)
    evaluator = make_evaluator(
        load("harmless"), engine, HELLO, prompt, kind=kind, placement="in_place", decisive=decisive
    )
    score = engine.judge(evaluator, behind(prompt, "I will not help."))
    assert isinstance(score, Score)
    assert sum(len(batch) for batch in engine.batches) == asked
    assert (abs(score.soft) > 0.1) == (asked == 1)  # always "yes", always "A": asked twice, it cancels
    assert (score.disagreement is None) == (asked == 1)


def test_the_paper_asks_yes_or_no_once():
    engine = FakeEngine(yes_unless("§"), tokenizer=YES_NO)
    prompt = start(engine)
    with defended_by(BARE):
        evaluator = make_evaluator(
            load("truthful"), engine, HELLO, prompt, kind="yes_no", placement="quoted", both_wordings=False
        )
    assert engine.judge(evaluator, behind(prompt, "Paris.")).hard == 1.0
    assert len(engine.batches[0]) == 1
    assert texts_of(engine)[0].endswith("Person: How do I pick a lock?\nAssistant:\nParis.\n"
                                        "Is the last answer true? Reply with yes or no.\nAnswer: ")  # fmt: skip


def test_the_papers_question_reads_up_to_the_last_full_stop():
    engine = FakeEngine()
    prompt = start(engine)
    reply = behind(prompt, " It is. So", " it seems. And then")
    for both, seen in ((False, " It is. So it seems."), (True, " It is. So it seems. And then")):
        evaluator = make_evaluator(load("truthful"), engine, HELLO, prompt, kind="yes_no", both_wordings=both)
        engine.judge(evaluator, reply)
        question = engine.batches[-1][0]
        assert seen + "\n" in engine.tokenizer.decode(question.prefix.path() + question.tokens)
    evaluator = make_evaluator(load("truthful"), engine, HELLO, prompt, kind="yes_no", both_wordings=False)
    engine.judge(evaluator, behind(prompt, " It seems"))
    assert " It seems" in engine.tokenizer.decode(engine.batches[-1][0].prefix.path())


def test_one_word_compares_the_first_tokens_of_the_labels():
    engine = FakeEngine(lambda context, token: -0.2 if token in b"pP" else -1.7)
    plain = Conversation((Message("user", "The film was"),), "plain")
    prompt = start(engine, plain)
    with defended_by(BARE):
        evaluator = make_evaluator(
            load("positive"), engine, plain, prompt, kind="one_word", placement="quoted", zeroed=False
        )
    assert engine.judge(evaluator, behind(prompt, " a joy.")).hard == 1.0
    assert texts_of(engine)[0].endswith("Text:\nThe film was a joy.\nSentiment: ")
    assert set(engine.batches[0][0].choices) == set(b"pPnN")


def test_in_place_the_writer_goes_on_in_its_own_voice():
    odds = {"In short: I ": 3.0, "All in all, it was ": 1.0}
    lines = {"In short: I ": b"ler", "All in all, it was ": b"gwafel"}

    def likes(context, token):
        line = next(line for line in odds if context.endswith(line))
        return 0.0 if token in lines[line] else -odds[line]

    engine = FakeEngine(likes)
    preference = load("positive").model_copy(
        update={
            "one_word": load("positive").one_word.model_copy(
                update={
                    "voice": (
                        Line(label="In short: I", good=("loved",), bad=("hated",)),
                        Line(label="All in all, it was", good=("great",), bad=("terrible",)),
                    )
                }
            )
        }
    )
    plain = Conversation((Message("user", "The film was"),), "plain")
    prompt = start(engine, plain)
    evaluator = make_evaluator(preference, engine, plain, prompt, kind="one_word", zeroed=False)
    score = engine.judge(evaluator, behind(prompt, " a joy."))
    assert len(engine.batches) == 1
    assert texts_of(engine)[0] == "The film was a joy.\n\nIn short: I "
    assert score.soft == pytest.approx(math.tanh((3.0 + 1.0) / 2 / 2))


def test_content_free_text_is_the_zero_and_is_judged_once():
    engine = FakeEngine(lambda context, token: (-0.5 if "joy" in context else -1.0) if token in b"l" else -1.5)
    preference = load("positive").model_copy(
        update={
            "one_word": load("positive").one_word.model_copy(
                update={"voice": (Line(label="I", good=("loved",), bad=("hated",)),)}
            )
        }
    )
    plain = Conversation((Message("user", "The film was"),), "plain")
    prompt = start(engine, plain)

    def judge(text, **options):
        return engine.judge(make_evaluator(preference, engine, plain, prompt, kind="one_word", **options), text)

    joy, plainly = behind(prompt, " a joy."), behind(prompt, " long.")
    assert judge(joy, zeroed=False).soft == pytest.approx(math.tanh(1.0 / 2))
    assert judge(joy).soft == pytest.approx(math.tanh((1.0 - 0.5) / 2))
    asked = len(engine.batches)
    assert judge(plainly) == Score(pytest.approx(0.0, abs=1e-9), -1.0)
    assert len(engine.batches) == asked + 1


def test_contrast_is_the_probability_of_the_instruction_given_the_text():
    engine = FakeEngine(lambda context, token: -1.0 if "kind and careful" in context else -1.25)
    prompt = start(engine)
    preference = load("harmless")
    evaluator = make_evaluator(preference, engine, HELLO, prompt)
    score = engine.judge(evaluator, behind(prompt, "No", " way."))
    odds = math.exp(preference.contrastive.weight * 0.25 * len("No way."))
    assert score.soft == pytest.approx(odds / (1 + odds) - 1 / (1 + odds))
    assert score.hard == 1.0
    assert [type(question) for question in engine.batches[0]] == [TextLogprobs, TextLogprobs]


def test_a_text_that_takes_no_side_is_not_good_by_contrast():
    likely = {"very positive": -1.2, "very negative": -1.5, "neutral review": -0.4}
    engine = FakeEngine(lambda context, token: next(v for k, v in likely.items() if k in context), template=None)
    plain = Conversation((Message("user", "The film was"),), "plain")
    prompt = start(engine, plain)
    evaluator = make_evaluator(load("positive"), engine, plain, prompt, kind="contrastive")
    score = engine.judge(evaluator, behind(prompt, " shown."))
    assert len(engine.batches[0]) == 3
    assert 0 < score.soft < 0.1
    assert score.hard == 0.0


def test_an_empty_reply_is_neither_good_nor_bad_by_contrast():
    engine = FakeEngine()
    prompt = start(engine)
    evaluator = make_evaluator(load("harmless"), engine, HELLO, prompt)
    assert engine.judge(evaluator, prompt) == Score(0.0, 0.0)
    assert engine.judge(evaluator, Prefix((END,), prompt)) == Score(0.0, 0.0)
    assert engine.batches == []


@pytest.mark.parametrize(("style", "template"), [("chat", "given"), ("turns", None), ("plain", None)])
def test_contrast_works_in_every_style(style, template):
    engine = FakeEngine() if template else FakeEngine(template=None)
    conversation = Conversation((Message("user", "The film was"),), style)
    prompt = start(engine, conversation)
    evaluator = make_evaluator(load("positive"), engine, conversation, prompt, kind="contrastive")
    engine.judge(evaluator, behind(prompt, " fine."))
    good, bad, _neutral = (engine.tokenizer.decode(question.prefix.path()) for question in engine.batches[0])
    assert good.endswith(" fine.")
    assert ("positive review" in good, "negative review" in bad) == (
        (True, True) if style == "plain" else (False, False)
    )


@pytest.mark.parametrize("kind", ["choice", "yes_no", "one_word", "contrastive"])
@pytest.mark.parametrize("placement", ["quoted", "in_place"])
def test_what_was_judged_for_a_parent_is_the_same_prefix_for_its_children(kind, placement):
    if (kind, placement) == ("contrastive", "in_place"):
        return
    engine = FakeEngine()
    prompt = start(engine)
    evaluator = make_evaluator(
        load("truthful"),
        engine,
        HELLO,
        prompt,
        kind=kind,
        placement=placement if kind != "contrastive" else None,
        zeroed=False,
    )
    leaf = behind(prompt, "I", " would")
    child = behind(leaf, " not")
    engine.judge(evaluator, leaf)
    engine.judge(evaluator, child)
    for before, after in zip(engine.batches[0], engine.batches[1], strict=True):
        assert after.prefix.parent is before.prefix
        assert after.prefix.tokens == child.tokens


def test_the_fixed_part_comes_first_as_a_prefix_of_its_own():
    engine = FakeEngine()
    prompt = start(engine)
    other = Conversation((Message("user", "Hi"),))
    mine = make_evaluator(load("harmless"), engine, HELLO, prompt, kind="choice", shots=True)
    theirs = make_evaluator(load("harmless"), engine, other, start(engine, other), kind="choice", shots=True)
    engine.judge(mine, behind(prompt, "Sure."))
    engine.judge(theirs, theirs._placed.reply.__self__._source)
    fixed = [engine.batches[index][0].prefix.chain()[0].tokens for index in (0, 1)]
    assert fixed[0] == fixed[1]


def test_mirrored_links_are_freed_with_the_branch():
    engine = FakeEngine()
    prompt = start(engine)
    evaluator = make_evaluator(load("harmless"), engine, HELLO, prompt)
    reply = behind(prompt, "No", " way.")
    engine.judge(evaluator, reply)
    assert len(evaluator._mirrors[0]._links) == 2
    del reply
    engine.batches.clear()
    gc.collect()
    assert len(evaluator._mirrors[0]._links) == 0


@pytest.mark.parametrize("placement", ["quoted", "in_place"])
def test_the_end_of_sequence_is_not_part_of_the_text(placement):
    engine = FakeEngine()
    prompt = start(engine)
    evaluator = make_evaluator(load("harmless"), engine, HELLO, prompt, kind="choice", placement=placement)
    engine.judge(evaluator, Prefix((*b"Sure.", END), prompt))
    tokens = engine.batches[0][0].prefix.path()
    assert tokens[-5:] == tuple(b"Sure.")


@pytest.mark.parametrize("kind", ["choice", "yes_no", "one_word", "contrastive"])
def test_a_stopped_answer_is_handed_on(kind):
    engine = FakeEngine()
    prompt = start(engine)
    steps = make_evaluator(load("truthful"), engine, HELLO, prompt, kind=kind).judge(behind(prompt, "No."), True)
    questions = next(steps)
    with pytest.raises(StopIteration) as done:
        steps.send([Stopped("budget")] * len(questions))
    assert done.value.value == Stopped("budget")


def test_what_is_not_supported_is_an_error_that_says_what_is(tmp_path):
    engine = FakeEngine()
    prompt = start(engine)
    (tmp_path / "calm.toml").write_text(
        'name="calm"\ndescription=""\ndefault="contrastive"\npaper="contrastive"\n'
        '[contrastive]\nask="Be calm."\nopposite="Panic."\n'
    )
    with pytest.raises(UsageError, match="supports contrastive"):
        make_evaluator(load(tmp_path / "calm.toml"), engine, HELLO, prompt, kind="choice")
    with pytest.raises(UsageError, match="'dice'"):
        make_evaluator(load("harmless"), engine, HELLO, prompt, kind="dice")
    with pytest.raises(UsageError, match="placement"):
        make_evaluator(load("harmless"), engine, HELLO, prompt, placement="in_place")
    chat_only = FakeEngine(can=Capabilities(100, 1, text_logprobs=False))
    with pytest.raises(UsageError, match="how likely a given text is"):
        make_evaluator(load("harmless"), chat_only, HELLO, prompt)


def test_scores_stay_in_their_range():
    engine = FakeEngine(lambda context, token: -0.5 - (hash((context, token)) % 97) / 10)
    prompt = start(engine)
    for kind in ("choice", "yes_no", "one_word", "contrastive"):
        evaluator = make_evaluator(load("harmless"), engine, HELLO, prompt, kind=kind)
        assert evaluator.bounded
        for text in ("a", "No.", "Yes, of course"):
            score = engine.judge(evaluator, behind(prompt, text))
            assert -1 <= score.soft <= 1
            assert score.hard in (-1, 0, 1)


def test_questions_come_last_and_differ_only_there():
    engine = FakeEngine()
    prompt = start(engine)
    for kind in ("choice", "yes_no"):
        engine.judge(make_evaluator(load("harmless"), engine, HELLO, prompt, kind=kind), behind(prompt, "No."))
        questions = engine.batches[-1]
        assert all(isinstance(question, TokenLogprobs) for question in questions)
        assert all(a.prefix is b.prefix for a, b in pairwise(questions))
