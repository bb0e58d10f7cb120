"""The EC2 API: the wire protocol (dispatch, signatures, idempotency, pagination) and the records, one noun per file."""
