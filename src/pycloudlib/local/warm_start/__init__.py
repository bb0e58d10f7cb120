"""A boot that goes on from where another machine was saved."""
