"""The questions behind the pages: each view takes what was asked, and returns the data that a page and its twin show.

overview_page      `/`: what needs a person, the traffic, the sinks
find_page          `/find`: what a text stands for
request_list_page  `/sr`: service requests
request_page       `/sr/UUID`: what a request went through, and who was told
play_page          `/play`, `/play/NUMBER`: requests as they come
parameters_read    parameters that several views read
"""
