"""The doctor: looks at everything that may be wrong, changes nothing, and names the command that mends it (scripts/doctor)."""
