"""Which module, which node?"""
