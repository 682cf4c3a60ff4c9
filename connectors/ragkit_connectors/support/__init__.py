"""What several connectors share; connectors themselves do not import each other."""
