"""The endpoints, one file per group of addresses. Each file has a `router` that `service.app` lists."""
