"""The platform on one machine: reads `knative/base` and runs exactly that."""
