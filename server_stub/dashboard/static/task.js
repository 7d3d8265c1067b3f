// Keeps what a task's page says of its state fresh: told of changes by /api/v1/tasks/{id}/events, it takes over the part
// that the server renders anew.

import { fetchPage, takeOver } from "./patch.js";
import { VisibleStream } from "./visible_stream.js";

const PAUSE_MS = 500; // between two looks, however fast a task changes
const LONGEST_MS = 8_000; // and while the server does not answer: longer each time, another one in each tab
const state = document.getElementById("task-state");
let looking = false;
let again = false;
let pause = PAUSE_MS;

async function look() {
  again = looking;
  if (looking) return;
  looking = true;
  try {
    const fresh = await fetchPage(state.dataset.from);
    if (fresh === null) location.reload();
    const part = fresh?.getElementById(state.id);
    if (part) takeOver(state, part);
    pause = PAUSE_MS;
  } catch {
    again = true; // the server does not answer now
    pause = Math.min(2 * pause, LONGEST_MS) * (0.5 + Math.random() / 2);
  }
  setTimeout(() => {
    looking = false;
    if (again) look();
  }, pause);
}

if (state.dataset.events) {
  const stream = new VisibleStream(() => state.dataset.events, {
    task: look,
    end: () => {
      stream.end();
      look();
    },
  });
}
