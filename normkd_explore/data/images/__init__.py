"""Images read from disk: files, decoders, the stream of batches."""
