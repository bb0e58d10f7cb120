"""The namespaces network driver: one network namespace per VPC, connected to machines by taps."""
