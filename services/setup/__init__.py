"""One-shot jobs that prepare what the long-running services need; each can be run again at any time."""
