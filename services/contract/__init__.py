"""What the trainer and the prediction service have in common: how a model version's files are read, signed and verified.

Neither imports the other. What both rely on (docs/model-contract.md) is here once, and imports neither of them.
"""
