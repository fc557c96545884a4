"""The etcd adapter."""
