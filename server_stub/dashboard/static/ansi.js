// Escape sequences in the output of scripts: which are obeyed, which are dropped, and which are shown.
//
// Output is hostile. Obeyed are colours and the like (SGR), "erase in line", carriage return and backspace: what
// colourful tools and progress bars need. Other complete control sequences (cursor movement, modes) leave nothing
// behind. A string sequence (OSC, DCS, SOS, PM, APC: titles, links, the clipboard) leaves a mark that names it. What
// does not end as a sequence must is printed, its escape visible: nothing swallows the text behind it.
//
// Text comes in pieces cut anywhere; the calls on the handler say the same for every cut.

/** Characters of a control sequence; a longer one is printed. */
const MAX_CONTROL = 256;
/** Characters of a string sequence; a longer one is printed. */
const MAX_STRING = 4096;

const PLAIN = /[^\x00-\x1f\x7f-\x9f]+/y;
// Of the characters that may end a sequence, those that end one in practice: the others are more likely text.
const ESCAPE_END = /[0-9A-Za-z<=>]/;
const CONTROL_END = /[@-Z`a-z]/;
const STRINGS = { "]": "OSC", P: "DCS", X: "SOS", "^": "PM", _: "APC" };

/**
 * Reads text and calls `handler`: `print(text)` shows text, every control in it visibly; `move(control)` is a line
 * feed, carriage return or backspace; `style(parameters)` is SGR; `erase(mode)` is "erase in line"; `mark(name)` stands
 * for a string sequence.
 */
export class SequenceReader {
  #handler;
  #gathered = ""; // the sequence so far, from its escape on
  #read = null; // who reads on in it
  #half = ""; // the first half of a surrogate pair whose second has not come

  constructor(handler) {
    this.#handler = handler;
  }

  write(piece) {
    const text = this.#half + piece;
    const whole = /[\ud800-\udbff]$/.test(text) ? text.length - 1 : text.length;
    this.#half = text.slice(whole);
    for (let at = 0; at < whole; ) {
      at = this.#read === null ? this.#plain(text, at, whole) : this.#read(text, at, whole);
    }
  }

  /** No more text will come: what was held back is printed. */
  end() {
    this.#giveUp();
    if (this.#half !== "") this.#handler.print(this.#half);
    this.#half = "";
  }

  #plain(text, at, whole) {
    PLAIN.lastIndex = at;
    const run = PLAIN.exec(text);
    if (run !== null) {
      const end = Math.min(at + run[0].length, whole);
      this.#handler.print(text.slice(at, end));
      return end;
    }
    const control = text[at];
    if (control === "\x1b") this.#start(control);
    else if (control === "\n" || control === "\r" || control === "\b") this.#handler.move(control);
    else this.#handler.print(control);
    return at + 1;
  }

  #start(escape) {
    this.#gathered = escape;
    this.#read = this.#escape;
  }

  #escape(text, at) {
    const char = text[at];
    if (this.#gathered.length === 1 && char === "[") return this.#gather(char, this.#control, at);
    if (this.#gathered.length === 1 && char in STRINGS) return this.#gather(char, this.#string, at);
    if (char >= " " && char <= "/" && this.#gathered.length < MAX_CONTROL) return this.#gather(char, this.#escape, at);
    if (!ESCAPE_END.test(char)) return this.#giveUp(at);
    if (this.#gathered.length === 1 && char === "c") this.#handler.style("0");
    return this.#done(at + 1);
  }

  #control(text, at) {
    const char = text[at];
    if (char >= " " && char <= "?" && this.#gathered.length < MAX_CONTROL) return this.#gather(char, this.#control, at);
    if (!CONTROL_END.test(char)) return this.#giveUp(at);
    const parameters = this.#gathered.slice(2);
    if (char === "m" && /^[0-9;:]*$/.test(parameters)) this.#handler.style(parameters);
    if (char === "K" && /^[0-2]?$/.test(parameters)) this.#handler.erase(Number(parameters));
    return this.#done(at + 1);
  }

  #string(text, at, whole) {
    PLAIN.lastIndex = at;
    const run = PLAIN.exec(text);
    if (run !== null) {
      const end = Math.min(at + run[0].length, whole, at + MAX_STRING - this.#gathered.length);
      this.#gathered += text.slice(at, end);
      return this.#gathered.length < MAX_STRING ? end : this.#giveUp(end);
    }
    if (text[at] === "\x1b") return this.#gather(text[at], this.#stringEnd, at);
    if (text[at] !== "\x07" && text[at] !== "\x9c") return this.#giveUp(at);
    this.#nameString();
    return this.#done(at + 1);
  }

  #stringEnd(text, at) {
    if (text[at] === "\\") {
      this.#nameString();
      return this.#done(at + 1);
    }
    this.#gathered = this.#gathered.slice(0, -1);
    this.#giveUp();
    this.#start("\x1b");
    return at;
  }

  #nameString() {
    const number = /^..([0-9]{0,4})/.exec(this.#gathered)[1];
    this.#handler.mark(`${STRINGS[this.#gathered[1]]} ${number}`.trimEnd());
  }

  #gather(char, next, at) {
    this.#gathered += char;
    this.#read = next;
    return at + 1;
  }

  #giveUp(at) {
    if (this.#gathered !== "") this.#handler.print(this.#gathered);
    return this.#done(at);
  }

  #done(at) {
    this.#gathered = "";
    this.#read = null;
    return at;
  }
}
