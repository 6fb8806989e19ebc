"""What `make bench` calls."""
