"""The shapes of requests, query parameters and responses, and the bounds of their values."""
