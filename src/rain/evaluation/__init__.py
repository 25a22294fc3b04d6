"""The paper's evaluation: prompts (suites), samples of every method, verdicts of judges, and what they show."""
