"""Training (extra ``[train]``): targets, losses, event batches, and the training loop on Lightning."""
