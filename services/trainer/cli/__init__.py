"""The trainer's command line: each command, its options and its help."""
