"""What a script may print to harm whoever looks: terminals, pages, and whatever cuts the bytes into pieces.

``CORPUS`` is small and printed in one go; ``LARGE`` is made when it is asked for. None of it may do more to a terminal
than print characters, begin a line and set colours, and nothing at all to a page but stand there as text.
"""

from collections.abc import Callable, Mapping
from typing import Final

MARKER: Final = "|end-6f1c|"
"""Plain text in every case, at its end: whoever shows the output shows this, too."""

_CASES: Final[Mapping[str, bytes]] = {
    # colours, which may pass, and what looks like them
    "sgr": b"\x1b[31mred\x1b[0m \x1b[1;38;5;208morange\x1b[0m \x1b[48;2;1;2;3mdeep\x1b[m",
    "sgr-with-colons": b"\x1b[38:2::1:2:3mcolons\x1b[0m",
    "sgr-never-reset": b"\x1b[41;97;5m everything after this is red",
    "sgr-concealed": b"\x1b[8mhidden\x1b[28m",
    "sgr-private": b"\x1b[?1m\x1b[>4;2m\x1b[<1m\x1b[=1m",
    "sgr-with-intermediate": b"\x1b[1 m\x1b[1!m",
    "sgr-endless": b"\x1b[" + b"1;" * 5000 + b"m",
    "sgr-huge-number": b"\x1b[" + b"9" * 500 + b"m",
    "sgr-unfinished": b"text\x1b[31",
    "sgr-cut-by-text": b"\x1b[31\x1b[32mgreen\x1b[0m\x1b[3\nm",
    # cursor, screen, modes
    "clear": b"\x1b[2J\x1b[3J\x1b[H",
    "rewrite-lines-above": b"failed\n\x1b[1A\x1b[2Ksucceeded",
    "carriage-return": b"rm -rf /\recho hello",
    "backspaces": b"rm -rf /" + b"\b" * 8 + b"echo hello",
    "scroll-and-margins": b"\x1b[2;3r\x1bD\x1bM\x1b[5S",
    "alternate-screen": b"\x1b[?1049h\x1b[?25l",
    "mouse-and-paste-modes": b"\x1b[?1000h\x1b[?2004h\x1b[?1004h",
    "full-reset": b"\x1bc",
    "charset-line-drawing": b"\x1b(0lqqk\x0e\x0f",
    "wide-tab-stops": b"\x1b[3g\x1bH",
    # what makes a terminal answer as if somebody had typed
    "reports": b"\x1b[6n\x1b[c\x1b[>c\x1b[21t\x1b[18t\x05\x1bZ\x1b[?1$p",
    "decrqss": b"\x1bP$q q\x1b\\\x1bP+q544e\x1b\\",
    "title-set-and-read": b"\x1b]0;; touch /tmp/owned;\x07\x1b[21t",
    # operating system commands and other strings
    "osc-8-link": b"\x1b]8;;https://evil.example/\x1b\\click\x1b]8;;\x1b\\",
    "osc-52-clipboard": b"\x1b]52;c;cm0gLXJmIC8K\x07",
    "osc-52-read": b"\x1b]52;c;?\x1b\\",
    "osc-9-notify": b"\x1b]9;owned\x07\x1b]777;notify;a;b\x07",
    "osc-1337-file": b"\x1b]1337;File=name=YQ==;inline=1:AAAA\x07",
    "osc-4-palette": b"\x1b]4;0;rgb:ff/ff/ff\x07\x1b]10;#000000\x07\x1b]11;#000000\x07",
    "osc-unfinished": b"\x1b]0;everything from here on is a title",
    "dcs-sixel": b"\x1bPq#0;2;0;0;0#0~~@@vv\x1b\\",
    "apc-pm-sos": b"\x1b_G a=T;AAAA\x1b\\\x1b^private\x1b\\\x1bXstring\x1b\\",
    # eight-bit controls: as characters of UTF-8, and as bytes
    "c1-as-characters": "\x9b2J\x9d0;owned\x9c\x90q\x9c\x85\x84\x8d".encode(),
    "c1-as-bytes": b"\x9b2J\x9d0;owned\x9c\x90q\x9c",
    # text that reads otherwise than it is
    "bidi-override": "safe \u202egnp.exe\u202c \u2066isolated\u2069 \u200fmark\u061c".encode(),
    "zero-width": "a\u200bb\u200cc\u200dd\u2060e\ufefff\u00adg".encode(),
    "line-separators": "one\u2028two\u2029three\x0bfour\x0cfive\x85six".encode(),
    "tags-and-private": "\U000e0041\U000e0042\ue000\U0010fffd\ufffe\uffff".encode(),
    "combining-pile": b"Z" + "\u0301\u0489".encode() * 2000,
    "interlinear": "\ufff9a\ufffab\ufffb\ufffc".encode(),
    "variation-and-joined": "\U0001f469\u200d\U0001f469\u200d\U0001f467\ufe0f".encode(),
    # bytes that are no text
    "nul": b"before\x00after",
    "all-bytes": bytes(range(256)),
    "invalid-utf-8": b"\xff\xfe \xc3( \xe2\x28\xa1 \xf0\x9f\x92 \xc0\xaf \xed\xa0\x80 \xf5\x80\x80\x80",
    "overlong-escape": b"\xc1\x9b[2J\xe0\x80\x9b[2J",
    "lone-continuations": b"\x80" * 64,
    "split-characters": "é€😀".encode() * 3000,
    "cut-character-at-the-end": "half a face \U0001f600".encode()[:-2] + b" ",
    # pages
    "script-element": b"</script><script>document.title='owned'</script>",
    "image-handler": b"<img src=x onerror=\"document.title='owned'\">",
    "attribute-breakers": b"\"'`><svg/onload=document.title='owned'>",
    "comment-and-cdata": b"--><!--]]><![CDATA[</textarea></style></pre></title>",
    "entities": b"&lt;script&gt;&#60;script&#62;&amp;amp;&#x0;",
    "template-words": b"{{ 7*7 }} {% raw %} ${7*7} #{7*7} <%= 7*7 %>",
    "javascript-link": b"javascript:document.title='owned'//https://example.invalid/?q=<b>",
    "event-stream-fields": b"data: owned\n\nevent: result\ndata: {}\n\nid: 9\nretry: 1\n: comment\r\rdata: x\r\r",
    "json-breakers": '\\"}],"result":{} \u2028\u2029 \\u0000 \\ud800'.encode(),
    # what looks like the command's own words
    "faked-heading": b"== other-node: succeeded\n-- stdout\ntask task_1 finished",
    "progress-bars": b"".join(b"\r%3d %%" % percent for percent in range(0, 101, 5)),
}

CORPUS: Final[Mapping[str, bytes]] = {name: case + MARKER.encode() for name, case in _CASES.items()}
"""Name to bytes; each case below 32 KiB."""

LARGE: Final[Mapping[str, Callable[[], bytes]]] = {
    "line-of-200000": lambda: b"x" * 200_000,
    "line-of-200000-wide": lambda: ("\u6f22" * 200_000).encode(),
    "ten-mib-without-newline": lambda: b"y" * (10 * 2**20),
    "ten-mib-of-newlines": lambda: b"\n" * (10 * 2**20),
    "ten-mib-of-escapes": lambda: b"\x1b" * (10 * 2**20),
    "ten-mib-of-colours": lambda: b"\x1b[31mx\x1b[0m" * (10 * 2**20 // 10),
    "ten-mib-of-one-sequence": lambda: b"\x1b[" + b"1;" * (5 * 2**20),
    "ten-mib-of-markup": lambda: b"<b></script>" * (10 * 2**20 // 12),
}
"""Name to what makes the bytes: more than any output limit lets through, so that a cut is part of the test."""
