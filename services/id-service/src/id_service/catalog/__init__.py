"""Which tags exist and what each of them asks for."""
