"""The machine under a training: its processes, devices, compilers, signals and free memory."""
