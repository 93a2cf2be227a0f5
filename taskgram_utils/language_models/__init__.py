"""Language models that answer one question, log P(s^y): task-gram, infini-gram and neural."""
