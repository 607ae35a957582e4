"""The frozen teacher: its network, where its weights come from, and the table of its logits."""
