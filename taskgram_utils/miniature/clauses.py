"""What prompts of the miniature world are made of: clauses of its instructions, and clauses that no
document has."""

import re

from taskgram_utils.miniature.words import INSTRUCTIONS

# Half of them have words of the instructions in another order, half have words of no document.
UNHEARD = {
    "factual_qa": ("Short be your answer.", "Words, few, know what short.",
                   "Alone fact or else nothing.", "Kindly respond concisely.",
                   "Supply whichever detail was requested."),
    "math_reasoning": ("Digit solve your problem by result.", "Digits last, steps first.",
                       "Number by number, work, result.", "Kindly derive an exact total.",
                       "Reason carefully from units onward."),
}


def heard(task: str) -> tuple[str, ...]:
    """The clauses of a task's instructions: joined by a space, in their order, they give the
    instructions back.

    >>> heard("factual_qa")[1:4]
    ('Answer', 'with a word', 'or a short phrase.')
    """
    parts = (re.split(r"(?<=,) | (?=(?:and|in|or|that|to|with) )",
             text) for text in INSTRUCTIONS[task])
    return tuple(dict.fromkeys(clause for clauses in parts for clause in clauses))


def pool(task: str) -> tuple[str, ...]:
    """All clauses of a task: those of its instructions, then those of no document."""
    return (*heard(task), *UNHEARD[task])
