"""A run on disk: folder, checkpoints, inputs, lock, reports. Readable without training anything."""
