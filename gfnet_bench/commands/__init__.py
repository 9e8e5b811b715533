"""One file a command: its options, and what it runs. Nothing heavy is imported until a command runs."""
