// The lines of one stream: characters in cells, which a carriage return or backspace lets later ones overwrite.

import { SequenceReader } from "./ansi.js";
import { applied, classes, PLAIN_STYLE } from "./style.js";

/** Cells of a line; what is longer goes on in the next one, which says so (`continued`). */
const MAX_CELLS = 4096;

const HIDDEN = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u;

/** A character that would not be seen, as an escape: \x1b, \u202e, \U000e0041. */
export function escaped(char) {
  const code = char.codePointAt(0);
  if (code < 0x100) return `\\x${code.toString(16).padStart(2, "0")}`;
  return code < 0x10000 ? `\\u${code.toString(16).padStart(4, "0")}` : `\\U${code.toString(16).padStart(8, "0")}`;
}

/**
 * Takes the text of a stream in pieces. A line is `{continued, runs: [{look, text}]}`: `look` is a string of CSS classes,
 * from a closed set whatever the text says.
 */
export class Lines {
  #reader = new SequenceReader(this);
  #style = PLAIN_STYLE;
  #look = "";
  #cells = [];
  #looks = [];
  #at = 0;
  #blanks = 0; // cells at the beginning that are known to be erased: not erased again, however often a script says so
  #continued = false;
  #finished = [];

  write(text) {
    this.#reader.write(text);
  }

  /** No more text will come. */
  end() {
    this.#reader.end();
  }

  /** The lines that were finished since they were last taken. */
  take() {
    const finished = this.#finished;
    this.#finished = [];
    return finished;
  }

  /** The line that is not finished; null if nothing stands in it. */
  open() {
    return this.#cells.length > 0 ? this.#line() : null;
  }

  print(text) {
    for (const char of text) {
      if ((char >= " " && char <= "~") || char === "\t" || !HIDDEN.test(char)) this.#put(char, this.#look);
      else this.#put(escaped(char), "control");
    }
  }

  move(control) {
    if (control === "\n") this.#finish(false);
    else this.#at = control === "\r" ? 0 : Math.max(0, this.#at - 1);
  }

  style(parameters) {
    this.#style = applied(this.#style, parameters);
    this.#look = classes(this.#style);
  }

  erase(mode) {
    if (mode > 0) this.#blank();
    if (mode === 1) return;
    this.#cells.length = this.#looks.length = this.#at;
    this.#blanks = Math.min(this.#blanks, this.#at);
  }

  mark(name) {
    this.#put(`[${name}]`, "control");
  }

  #blank() {
    this.#cells.fill(" ", this.#blanks, this.#at + 1);
    this.#looks.fill("", this.#blanks, this.#at + 1);
    this.#blanks = Math.max(this.#blanks, Math.min(this.#at + 1, this.#cells.length));
  }

  #put(cell, look) {
    if (this.#at >= MAX_CELLS) this.#finish(true);
    this.#blanks = Math.min(this.#blanks, this.#at);
    this.#cells[this.#at] = cell;
    this.#looks[this.#at] = look;
    this.#at += 1;
  }

  #finish(continued) {
    this.#finished.push(this.#line());
    this.#cells = [];
    this.#looks = [];
    this.#at = 0;
    this.#blanks = 0;
    this.#continued = continued;
  }

  #line() {
    const runs = [];
    for (let at = 0; at < this.#cells.length; ) {
      const look = this.#looks[at];
      const start = at;
      while (at < this.#cells.length && this.#looks[at] === look) at += 1;
      runs.push({ look, text: this.#cells.slice(start, at).join("") });
    }
    return { continued: this.#continued, runs };
  }
}
