"""The web page: rendered on the server, without a build step and without anything from another host.

``routes`` names the pages, ``visits`` says who may see one, ``forms`` what may be sent to one, ``pages`` turns a
template into an answer. The files beside them have one subject each; none is loaded before somebody opens a page that
needs it (docs/dashboard.md, docs/adr/0015-server-rendered-page.md).
"""
