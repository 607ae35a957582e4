"""What is asked before a run: time, memory, advice, what this machine has."""
