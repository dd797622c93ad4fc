"""Which module of a component of ours introduces an error, and what happened there?"""
