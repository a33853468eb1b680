"""Starts of the service in every state that a card can be in, and what is said each time.

trial     one start: its exit status, its log, its answers
cases     each way to ask for a provider, with and without a usable card
shortage  too little of the card's memory: by a limit, and by another process
"""
