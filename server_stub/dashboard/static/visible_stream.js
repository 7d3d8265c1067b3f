// An event stream that is open while the tab can be seen.
//
// A browser keeps six connections to a server: tabs in the background must not hold them, or the seventh page would not
// load. Whoever follows a stream is asked for its address each time it opens, to go on from where it was.

const AGAIN_MS = 5000; // until a stream that was refused is asked for again, and up to twice that

export class VisibleStream {
  #address;
  #listeners;
  #source = null;
  #timer = null;
  #ended = false;
  #onVisible = () => this.#openOrClose();

  /** `address()` is where to go on; `listeners` maps names of events to functions of their data. */
  constructor(address, listeners) {
    this.#address = address;
    this.#listeners = listeners;
    document.addEventListener("visibilitychange", this.#onVisible);
    this.#openOrClose();
  }

  /** The story has been told. */
  end() {
    this.#ended = true;
    document.removeEventListener("visibilitychange", this.#onVisible);
    this.#close();
  }

  #openOrClose() {
    if (document.visibilityState !== "visible") this.#close();
    else if (this.#source === null) this.#open();
  }

  #open() {
    if (this.#ended) return;
    clearTimeout(this.#timer);
    const source = new EventSource(this.#address());
    this.#source = source;
    for (const [name, listener] of Object.entries(this.#listeners)) {
      if (name !== "lost") source.addEventListener(name, (event) => listener(event.data === undefined ? null : JSON.parse(event.data)));
    }
    source.addEventListener("error", () => this.#lost(source));
  }

  /** A connection that broke is made anew by the browser; after a refusal it gives up, and it is for us to ask again. */
  #lost(source) {
    if (source !== this.#source) return;
    this.#listeners.lost?.();
    if (source.readyState !== EventSource.CLOSED) return;
    this.#close();
    this.#timer = setTimeout(this.#onVisible, AGAIN_MS * (1 + Math.random()));
  }

  #close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }
}
