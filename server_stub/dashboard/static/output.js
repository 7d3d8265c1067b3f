// Follows the output of one task on one node over /api/v1/tasks/{id}/output (docs/protocol.md, section 8).

import { LogView } from "./log_view.js";
import { VisibleStream } from "./visible_stream.js";

const STREAMS = ["stdout", "stderr"];

class Follower {
  #view;
  #say;
  #onEnd;
  #source;
  #decoders;
  #position;

  constructor(url, view, say, onEnd) {
    this.#view = view;
    this.#say = say;
    this.#onEnd = onEnd;
    this.#restart();
    this.#source = new VisibleStream(() => (this.#position > 0 ? `${url}&position=${this.#position}` : url), {
      open: () => this.#following(),
      lost: () => say("The connection was lost; connecting again…"),
      output: (piece) => this.#output(piece),
      reset: () => this.#restart(),
      result: ({ result }) => this.#result(result),
      end: (ending) => this.#end(ending),
    });
  }

  #restart() {
    this.#view.clear();
    this.#position = 0;
    // Without the option a decoder swallows a byte order mark; here it is shown.
    this.#decoders = new Map(STREAMS.map((stream) => [stream, new TextDecoder("utf-8", { ignoreBOM: true })]));
  }

  #following() {
    this.#say(this.#position > 0 ? "Following the output as it comes." : "Nothing was written yet.");
  }

  #output({ stream, position, data }) {
    if (!STREAMS.includes(stream)) return;
    const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
    const known = Math.max(0, this.#position - position); // sent again after a reconnection
    if (known >= bytes.length) return;
    this.#position = position + bytes.length;
    this.#following();
    this.#view.write(stream, this.#decoders.get(stream).decode(bytes.subarray(known), { stream: true }));
  }

  /** What was shown is replaced: the result alone says what the script wrote. */
  #result(result) {
    this.#source.end();
    this.#onEnd();
    this.#restart();
    for (const stream of STREAMS) {
      this.#view.write(stream, result[stream]);
      this.#view.write(stream, null);
    }
    if (!result.stdout && !result.stderr) this.#say(`Ended, ${result.text}. It wrote nothing.`);
    else this.#say(`Ended, ${result.text}. This is the whole output.`);
  }

  #end({ text }) {
    this.#source.end();
    this.#onEnd();
    for (const stream of STREAMS) this.#view.write(stream, null);
    this.#say(`Ended, ${text}. There is no result; what is shown here may not be all.`);
  }
}

/** A section of the page with `data-output`, the address of its event stream. */
function start(section) {
  const part = (name) => section.querySelector(`[data-part="${name}"]`);
  const [state, notice, button, log] = ["state", "dropped", "follow", "log"].map(part);
  const view = new LogView(
    log,
    (count) => {
      notice.hidden = count === 0;
      notice.textContent = count ? `${count} earlier lines are not shown here; a download of the result has all of them.` : "";
    },
    (on) => {
      button.setAttribute("aria-pressed", String(on));
      button.textContent = on ? "Pause" : "Follow";
    },
  );
  button.hidden = false;
  button.addEventListener("click", () => view.follow(!view.following));
  view.follow(true);
  const say = (text) => {
    if (state.textContent !== text) state.textContent = text;
  };
  const onEnd = () => {
    button.hidden = true;
  };
  return new Follower(section.dataset.output, view, say, onEnd);
}

document.querySelectorAll("[data-output]").forEach(start);
