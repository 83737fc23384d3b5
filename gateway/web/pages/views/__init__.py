"""The questions behind the pages: each view takes what was asked, and returns the data that a page and its twin show.

overview_page   `/`: what needs a person, the traffic, the sinks
"""
