"""The domain adapter: seeds in, LoRA and contrastive training, evaluation, the adapter folder out. Never prints."""
