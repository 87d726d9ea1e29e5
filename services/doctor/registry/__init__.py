"""What the registry says, the same in the stack and without Docker: MLflow's tables by SQL, and the files of a version."""
