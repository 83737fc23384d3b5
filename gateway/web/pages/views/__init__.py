"""The questions behind the pages: each view takes what was asked, and returns the data that a page and its twin show.

overview_page      `/`: what needs a person, the traffic, the sinks
find_page          `/find`: what a text stands for
request_list_page  `/sr`: service requests
request_page       `/sr/UUID`: what a request went through, and who was told
message_list_page  `/messages`: what came
message_page       `/messages/ID`: one message
evidence_page      the download that proves what came, of a request or a message
dead_page          `/dead`: deliveries that the gateway gave up, in groups
sink_page          `/sinks/NAME`: one sink
rules_page         `/rules`: where messages go, and what the rules do with an event
acts_page          `/acts`: what people did
act_page           `/act`: what an act would change, and the act itself
ask_legitmark      the act that asks Legitmark's API about a request
play_page          `/play`, `/play/NUMBER`: requests as they come
laid_out           bodies for people, long ones laid out in a thread
parameters_read    parameters that several views read
"""
