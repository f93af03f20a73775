"""People answer about calls: the inbox, the page, the worker that resumes, notifications."""
