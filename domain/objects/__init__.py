"""Kubernetes objects as the data they are, a module for each component that registers them."""
