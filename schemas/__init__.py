"""What is stored and said: Arrow schemas, config models, manifests, names, errors."""
