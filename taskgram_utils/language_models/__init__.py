"""Three language models asked one question, log P(s^y), and answering in one table: task-gram, infini-gram, neural."""
