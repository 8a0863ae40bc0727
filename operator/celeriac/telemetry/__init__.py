"""What is told about the process: metrics, the HTTP server, logs."""
