"""Does it hold, and could it fail?"""
