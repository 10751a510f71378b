"""How the projection layer is computed: one folder for each scheme."""
