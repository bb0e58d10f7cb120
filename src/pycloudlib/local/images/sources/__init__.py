"""The sources of pulled images: one file per index format, the downloader, the verifier, and the content store."""
