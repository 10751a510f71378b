"""The projection layer z = a W^T between a collaborator's bottom model and the host's fusion."""
