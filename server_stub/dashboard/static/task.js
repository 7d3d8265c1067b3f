// Keeps what a task's page says of its state fresh: told of changes by /api/v1/tasks/{id}/events, it takes over the part
// that the server renders anew.

import { fetchPage, takeOver } from "./patch.js";
import { VisibleStream } from "./visible_stream.js";

const PAUSE_MS = 500; // between two looks, however fast a task changes
const LONGEST_PAUSE_MS = 30_000; // while the server does not answer
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
    again = true;
    pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
  }
  setTimeout(() => {
    looking = false;
    if (again) look();
  }, pause * (0.75 + Math.random() / 2));
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
