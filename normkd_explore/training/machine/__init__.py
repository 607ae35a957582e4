"""The machine under a training: processes, compilers, signals, safe writing, free memory."""
