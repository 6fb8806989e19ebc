"""The service: it reads the recorded champion, the look-ups and requests, and writes the prediction log."""
