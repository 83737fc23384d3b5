"""The pages of the admin listener, for people with a browser: HTML, the same data as JSON, and a stream that tells of changes.

A page is one line of `page_table`, one view, and one template; it shows what the rooms of `control` answer, and never asks the
store itself. To add one: write the view and its data, the template, and the texts in every language; the tests walk the table.

site             answers requests: finds the page, asks its view, draws the answer
page_table       every page, as data
page             what a page is
views            the question behind each page
asking           what a request asks for, in which language

drawing          the templates, and the functions that they may call
catalogue        the texts of each language
formats          numbers, spans of time and instants in each language
attention_words  what needs a person, in each language
sayings          what the gateway said in English, in each language
where_to_look    the page about what needs a person
hyperlinks       the addresses of pages
sparkline        small curves
shown_text       texts of strangers, with nothing hidden

evidence_sending a file that is sent while it is made
live_streams     tells open pages that something has changed
page_files       the style sheet and the script
page_headers     what a browser may load, run and keep
"""
