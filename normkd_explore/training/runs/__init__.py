"""A run on disk: folders, checkpoints, resume, reports. Readable without training anything."""
