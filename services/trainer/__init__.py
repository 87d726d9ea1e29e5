"""The trainer: explores the data, trains, tracks, registers and promotes; a job that ends, not a server."""
