"""Which layers a form may round: what each costs, and the fewest that must stay in float32."""
