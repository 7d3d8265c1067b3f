// Output on the page: lines as elements, in the order in which they began, bounded whatever a script prints.
//
// Only text nodes and <span>, <div> and <p> elements with classes are made here; no text is ever read as markup.

import { Lines } from "./lines.js";
import { rules } from "./palette.js";

/** Lines in the page, and their cost in characters (an element counts for some): the oldest lines go. */
const MAX_LINES = 5000;
const MAX_COST = 1024 * 1024;
const LINE_COST = 64;
const RUN_COST = 48;
/** Lines of one block: what is out of sight is neither laid out nor painted, block by block. */
const BLOCK_LINES = 100;
/** Characters that are rendered in one go; the page answers its user in between. */
const SLICE = 32 * 1024;
/** How near to its end, in pixels, a box counts as scrolled to the end. */
const NEAR = 24;

const LABELS = { stdout: "out", stderr: "err" };

function element(name, look, text) {
  const made = document.createElement(name);
  if (look) made.className = look;
  if (text !== undefined) made.append(document.createTextNode(text));
  return made;
}

export class LogView {
  #box;
  #onDropped;
  #onFollow;
  #streams = new Map(); // name -> {lines, element of the open line or null}
  #waiting = []; // [stream, text] to render; no more than the output limit of a task can be in here
  #timer = null;
  #costs = []; // of each line, oldest first
  #cost = 0;
  #dropped = 0;
  #following = true;
  #seenTop = 0;

  /** `onDropped(count)`: so many lines are no longer shown; `onFollow(on)`: the box follows its end, or stopped. */
  constructor(box, onDropped, onFollow) {
    this.#box = box;
    this.#onDropped = onDropped;
    this.#onFollow = onFollow;
    box.addEventListener("scroll", () => this.#scrolled());
    box.addEventListener("keydown", (event) => this.#pressed(event));
    colour();
  }

  get following() {
    return this.#following;
  }

  follow(on) {
    this.#following = on;
    this.#onFollow(on);
    if (on) this.#toEnd();
  }

  /** Text of "stdout" or "stderr"; null ends the stream. */
  write(stream, text) {
    this.#waiting.push([stream, text]);
    this.#timer ??= setTimeout(() => this.#render());
  }

  clear() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#waiting = [];
    this.#streams.clear();
    this.#costs = [];
    this.#cost = 0;
    this.#dropped = 0;
    this.#onDropped(0);
    this.#box.replaceChildren();
  }

  #render() {
    let room = SLICE;
    while (room > 0 && this.#waiting.length > 0) {
      const [stream, text] = this.#waiting.shift();
      if (text !== null && text.length > room) this.#waiting.unshift([stream, text.slice(room)]);
      this.#show(stream, text === null ? null : text.slice(0, room));
      room -= text === null ? 1 : Math.max(1, text.length);
    }
    this.#drop();
    if (this.#following) this.#toEnd();
    this.#timer = this.#waiting.length > 0 ? setTimeout(() => this.#render()) : null;
  }

  #show(stream, text) {
    if (!this.#streams.has(stream)) this.#streams.set(stream, { lines: new Lines(), line: null });
    const state = this.#streams.get(stream);
    if (text === null) state.lines.end();
    else state.lines.write(text);
    for (const line of state.lines.take()) {
      this.#fill(this.#openLine(stream, state), line);
      state.line = null;
    }
    const open = state.lines.open();
    if (open !== null) this.#fill(this.#openLine(stream, state), open);
  }

  /** The element of the stream's line that is not finished; a new one where there is none, or where it was dropped. */
  #openLine(stream, state) {
    if (!state.line?.isConnected) state.line = this.#newLine(stream);
    return state.line;
  }

  #newLine(stream) {
    let block = this.#box.lastElementChild;
    if (block === null || block.childElementCount >= BLOCK_LINES) {
      block = element("div", "block");
      this.#box.append(block);
    }
    const line = element("div", `line ${stream}`);
    block.append(line);
    this.#costs.push({ line, cost: 0 });
    return line;
  }

  #fill(line, { continued, runs }) {
    const label = LABELS[line.classList.contains("stderr") ? "stderr" : "stdout"];
    const text = element("span", "text");
    text.append(...runs.map((run) => (run.look ? element("span", run.look, run.text) : document.createTextNode(run.text))));
    line.classList.toggle("continued", continued);
    line.replaceChildren(element("span", "stream", label), text);
    this.#charge(line, LINE_COST + runs.reduce((sum, run) => sum + RUN_COST + run.text.length, 0));
  }

  #charge(line, cost) {
    // The open line of a stream is one of the last, so the search is short.
    const entry = this.#costs.findLast((candidate) => candidate.line === line);
    this.#cost += cost - entry.cost;
    entry.cost = cost;
  }

  #drop() {
    let count = 0;
    let over = this.#cost;
    while (this.#costs.length - count > MAX_LINES || (over > MAX_COST && this.#costs.length - count > 1)) {
      over -= this.#costs[count].cost;
      count += 1;
    }
    if (count === 0) return;
    for (const { line } of this.#costs.splice(0, count)) {
      const block = line.parentElement;
      line.remove();
      if (block.childElementCount === 0) block.remove();
    }
    this.#cost = over;
    this.#dropped += count;
    this.#onDropped(this.#dropped);
  }

  #toEnd() {
    this.#box.scrollTop = this.#box.scrollHeight;
    this.#seenTop = this.#box.scrollTop;
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#box;
    const up = scrollTop < this.#seenTop;
    this.#seenTop = scrollTop;
    const near = scrollHeight - scrollTop - clientHeight <= NEAR;
    if (near && !up && !this.#following) this.follow(true);
    if (up && !near && this.#following) this.follow(false);
  }

  #pressed(event) {
    if (event.key !== "f" || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.follow(!this.#following);
  }
}

let coloured = false;

/** The colours of a terminal, once a page: 512 rules that pages without output need not load. */
function colour() {
  if (coloured) return;
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(rules(".log"));
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  coloured = true;
}
