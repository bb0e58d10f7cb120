"""Resources that earlier runs left: search and deletion."""
