"""Where images are pulled from: one file per index format, the downloader, the verifier, and the store of contents."""
